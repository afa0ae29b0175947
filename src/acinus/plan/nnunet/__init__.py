"""nnU-Net's planning rules, number for number, and how they become our settings."""

from acinus.plan.nnunet.configure import (
    BY_CHANNEL_NAME,
    Configuration,
    NnunetPlan,
    PlanningFacts,
    Wishes,
    plan_configurations,
)
from acinus.plan.nnunet.decide import decide_intensity, nnunet_decisions, planning_facts
from acinus.plan.nnunet.topology import Topology, count_values, decide_topology

__all__ = [
    "BY_CHANNEL_NAME",
    "Configuration",
    "NnunetPlan",
    "PlanningFacts",
    "Topology",
    "Wishes",
    "count_values",
    "decide_intensity",
    "decide_topology",
    "nnunet_decisions",
    "plan_configurations",
    "planning_facts",
]
