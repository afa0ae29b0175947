"""Planning: facts, rules, recipes, budget, and the plan that freezes them."""

from acinus.plan.budget import Budget, parse_budget
from acinus.plan.fingerprint import Fingerprint, take_fingerprint, volume_ranges_ml
from acinus.plan.plan import DatasetFacts, Plan, make_plan, read_plan, write_plan
from acinus.plan.recipe import list_recipes, load_recipe, parse_settings
from acinus.plan.rules import PLANES, Decision
from acinus.plan.settings import Choice, Recipe

__all__ = [
    "PLANES",
    "Budget",
    "Choice",
    "DatasetFacts",
    "Decision",
    "Fingerprint",
    "Plan",
    "Recipe",
    "list_recipes",
    "load_recipe",
    "make_plan",
    "parse_budget",
    "parse_settings",
    "read_plan",
    "take_fingerprint",
    "volume_ranges_ml",
    "write_plan",
]
