"""The public names of Acinus and where they live; `acinus/__init__.py` loads from this list."""

from acinus.cohort import make_split as make_split
from acinus.cohort import open_dataset as open_dataset
from acinus.cohort import read_split as read_split
from acinus.cohort import write_split as write_split
from acinus.errors import AcinusError as AcinusError
from acinus.errors import ConfigError as ConfigError
from acinus.errors import DataError as DataError
from acinus.errors import GridError as GridError
from acinus.errors import PlanError as PlanError
from acinus.evaluate import score_cases as score_cases
from acinus.losses import LOSSES as LOSSES
from acinus.measure import MEASURES as MEASURES
from acinus.measure import Score as Score
from acinus.measure import measure_case as measure_case
from acinus.networks import NETWORKS as NETWORKS
from acinus.plan import list_recipes as list_recipes
from acinus.plan import load_recipe as load_recipe
from acinus.plan import read_plan as read_plan
from acinus.scans import Grid as Grid
from acinus.scans import Volume as Volume
from acinus.scans import canonical as canonical
from acinus.scans import read_labelmap as read_labelmap
from acinus.scans import read_volume as read_volume
from acinus.scans import write_volume as write_volume
from acinus.version import __version__ as __version__
