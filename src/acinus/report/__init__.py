"""The report of a run or study: figures, tables, one self-contained HTML file.

Enters: `ReportContent`. Leaves: ``report.html`` with ``figures/`` and ``tables/``
beside it. Belongs to the judging wing: knows no network and imports no torch.
"""

from acinus.report.content import ArmContent, FlowStep, ReportContent, SequenceContent
from acinus.report.page import write_report
from acinus.report.saliency import write_saliency_figure

__all__ = [
    "ArmContent",
    "FlowStep",
    "ReportContent",
    "SequenceContent",
    "write_report",
    "write_saliency_figure",
]
