"""The application with all commands, one thin file each."""

from __future__ import annotations

from cyclopts import App, Parameter

from acinus.cli.benchmark import benchmark
from acinus.cli.check import check
from acinus.cli.compare import compare
from acinus.cli.convert import convert
from acinus.cli.datasets import datasets
from acinus.cli.demo import demo
from acinus.cli.ensemble import ensemble
from acinus.cli.evaluate import evaluate
from acinus.cli.explain import explain
from acinus.cli.export import export
from acinus.cli.import_dataset import import_model
from acinus.cli.listing import list_parts
from acinus.cli.phantom import phantom
from acinus.cli.plan import plan
from acinus.cli.predict import predict
from acinus.cli.profile import profile
from acinus.cli.readers import readers
from acinus.cli.report import report
from acinus.cli.run import run
from acinus.cli.slurm import slurm
from acinus.cli.study import study
from acinus.cli.train import train
from acinus.version import __version__

HELP = """\
Segments small structures on MRI and CT: from scans to a trained model, its evaluation and a report.

Start with 'acinus demo', or with your own scans: 'acinus check DATASET', then
'acinus run DATASET --budget 15m --out RUN'. Not for clinical use.
"""

EPILOGUE = """\
Each command has its own help: acinus COMMAND --help. A command that was stopped goes on when it
is started again. With --debug a fault shows where in the code it arose.
Exit status: 0 done, 1 'check' found errors, 2 wrong use or unusable input, 3 some cases failed.
"""

app = App(
    name="acinus",
    help=HELP,
    help_epilogue=EPILOGUE,
    help_format="markdown",
    version=__version__,
    default_parameter=Parameter(negative=()),
    suppress_keyboard_interrupt=False,
)

app.command(demo, sort_key=1)
app.command(phantom)
app.command(convert, sort_key=2)
app.command(datasets)
app.command(check, sort_key=3)
app.command(run, sort_key=4)
app.command(plan, sort_key=5)
app.command(train, sort_key=6)
app.command(evaluate, sort_key=7)
app.command(compare, sort_key=7)
app.command(readers, sort_key=8)
app.command(report, sort_key=8)
app.command(predict, sort_key=9)
app.command(export, sort_key=10)
app.command(ensemble, sort_key=10)
app.command(import_model)
app.command(explain, sort_key=12)
app.command(study, sort_key=13)
app.command(slurm, sort_key=14)
app.command(list_parts, name="list", sort_key=15)
app.command(profile, sort_key=16)
app.command(benchmark, sort_key=17)
