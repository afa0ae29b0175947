"""Planning: facts, rules, recipes, budget, and the plan that freezes them."""

from acinus.plan.budget import Budget, parse_budget
from acinus.plan.explain import explain_plan
from acinus.plan.fingerprint import (
    Fingerprint,
    take_fingerprint,
    volume_ranges_ml,
    write_fingerprint,
)
from acinus.plan.locate import may_locate
from acinus.plan.plan import DatasetFacts, Plan, make_plan, read_plan, write_plan
from acinus.plan.recipe import list_recipes, load_recipe, parse_settings
from acinus.plan.repeats import ENOUGH_STEPS, against_learning_by_heart
from acinus.plan.rules import PLANES, Decision, small_structure_warnings
from acinus.plan.settings import Choice, Recipe

__all__ = [
    "ENOUGH_STEPS",
    "PLANES",
    "Budget",
    "Choice",
    "DatasetFacts",
    "Decision",
    "Fingerprint",
    "Plan",
    "Recipe",
    "against_learning_by_heart",
    "explain_plan",
    "list_recipes",
    "load_recipe",
    "make_plan",
    "may_locate",
    "parse_budget",
    "parse_settings",
    "read_plan",
    "small_structure_warnings",
    "take_fingerprint",
    "volume_ranges_ml",
    "write_fingerprint",
    "write_plan",
]
