"""What a DICOM header says about the person, by keyword and by kind.

Enters: nothing. Leaves: keywords of DICOM PS3.15, table E.1-1, after which folders and
descriptions are named: they are read from every header, and taken out of every text.
"""

PERSON_NAMES = (
    "PatientName",
    "PatientBirthName",
    "PatientMotherBirthName",
    "OtherPatientNames",
    "ResponsiblePerson",
    "ReferringPhysicianName",
    "RequestingPhysician",
    "PerformingPhysicianName",
    "PhysiciansOfRecord",
    "NameOfPhysiciansReadingStudy",
    "ConsultingPhysicianName",
    "OperatorsName",
    "ContentCreatorName",
    "ReviewerName",
    "ROIInterpreter",
    "ScheduledPerformingPhysicianName",
    "HumanPerformerName",
    "OrderEnteredBy",
)
PERSON_IDS = ("PatientID", "OtherPatientIDs", "OtherPatientIDsSequence")
VISIT_IDS = (
    "AccessionNumber",
    "StudyID",
    "AdmissionID",
    "ServiceEpisodeID",
    "MedicalRecordLocator",
    "RequestedProcedureID",
    "ScheduledProcedureStepID",
    "PerformedProcedureStepID",
    "PlacerOrderNumberImagingServiceRequest",
    "FillerOrderNumberImagingServiceRequest",
    "RequestAttributesSequence",
    "PatientTelephoneNumbers",
)
"""A sequence stands for the ids in its items."""

PLACES = ("PatientAddress",)
DATES = (
    "PatientBirthDate",
    "StudyDate",
    "SeriesDate",
    "AcquisitionDate",
    "AcquisitionDateTime",
    "ContentDate",
    "StructureSetDate",
    "InstanceCreationDate",
    "AdmittingDate",
    "ScheduledProcedureStepStartDate",
    "PerformedProcedureStepStartDate",
    "PerformedProcedureStepEndDate",
)
PERSON_TAGS = (
    *PERSON_IDS,
    *PERSON_NAMES,
    *VISIT_IDS,
    *PLACES,
    *DATES,
    "PatientSex",
    "PatientAge",
)
"""All of them."""
