"""Pages that the build makes from the package itself: settings, verbs, and the schema of plans.

mkdocs calls the functions named `on_…`; see https://www.mkdocs.org/user-guide/plugins/#events.
"""

from __future__ import annotations

import argparse
import ast
import json
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
EXAMPLES = ("fuse_folds.py", "tune_weights.py", "compare_trainings.py")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages to those that lie in `docs`."""
    pages = {
        "reference/settings.md": settings_page(),
        "reference/verbs.md": verbs_page(),
        "reference/plan.schema.json": plan_schema_file(),
        "tutorials/python.md": examples_page(),
        "explanation/benchmarks.md": (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8"),
        "explanation/gpu_check.md": (ROOT / "benchmarks" / "gpu_check.md").read_text(encoding="utf-8"),
        "contributing.md": (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"),
    }
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def examples_page() -> str:
    """The scripts in `examples`, each as it stands, below the first line of its docstring."""
    lines = [
        "# From Python",
        "",
        "Three scripts that lie in `examples` of a checkout. Each runs in seconds, on data made up by",
        "`examples/generated_data.py`, and prints what it finds. [Python API](../reference/python-api.md)",
        "describes functions and classes.",
        "",
    ]
    for name in EXAMPLES:
        text = (ROOT / "examples" / name).read_text(encoding="utf-8")
        docstring = ast.get_docstring(ast.parse(text)) or ""
        title, _, words = docstring.partition("\n\n")
        code = text[text.index("from __future__") :]
        lines += [f"## {title.rstrip('.')}", "", _with_fence(words), ""]
        lines += [f'```python title="examples/{name}"', code.rstrip(), "```", ""]
    return "\n".join(lines)


def _with_fence(words: str) -> str:
    """The words with their last paragraph, an indented command, as a block of code."""
    words, _, command = words.rpartition("\n\n")
    return f"{words}\n\n```sh\n{command.strip()}\n```"


def settings_page() -> str:
    """Every setting with its code, default and meaning, from the one definition of settings."""
    from nnunet_ext.trainers.settings.definition import EarlyStoppingSettings, ExtSettings, TrainingSettings
    from nnunet_ext.trainers.settings.recipe_names import CODES

    lines = [
        "# Settings of a training",
        "",
        "Each setting can be given as an option of `nnunet_ext train` (`-n_epochs 300`), as an environment",
        "variable (`nnUNet_n_epochs=300`), in a YAML file that `nnUNet_ext_config` names (`n_epochs: 300`),",
        "and, where the table shows a code, in the name of the trainer (`nnUNetTrainerExt_ep300`). Options",
        "and variables win over the file, and the file over the default.",
        "",
        "| setting | code in a name | default | read by | meaning |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, field in ExtSettings.model_fields.items():
        if name in TrainingSettings.model_fields:
            readers = "all three"
        elif name in EarlyStoppingSettings.model_fields:
            readers = "EarlyStopping, Ext"
        else:
            readers = "Ext"
        code = f"`{CODES[name]}…`" if CODES.get(name) else ("its value" if name in CODES else "-")
        default = str(field.default).lower()
        lines.append(f"| `{name}` | {code} | {default} | {readers} | {field.description} |")
    lines += [
        "",
        "The trainers are `nnUNetTrainerCustomEpochs`, `nnUNetTrainerEarlyStopping` and `nnUNetTrainerExt`.",
        "",
    ]
    return "\n".join(lines)


def verbs_page() -> str:
    """Every verb with its options, from the parsers of the command line."""
    from nnunet_ext.cli.main import build_parser
    from nnunet_ext.cli.verbs import VERBS

    lines = ["# Verbs", "", "`nnunet_ext VERB --help` prints the same on a terminal.", ""]
    for verb in VERBS:
        parser = _subparsers(build_parser(verb))[verb]
        lines += _verb_section(f"nnunet_ext {verb}", parser, level=2)
    return "\n".join(lines)


def _subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    actions = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return {name: one for action in actions for name, one in action.choices.items()}


def _verb_section(title: str, parser: argparse.ArgumentParser, level: int) -> list[str]:
    lines = [f"{'#' * level} {title}", "", (parser.description or "").strip(), ""]
    if parser.epilog:
        examples = [line.strip() for line in parser.epilog.splitlines() if "nnunet_ext" in line]
        lines += ["```sh", *examples, "```", ""]
    options = [
        action
        for action in parser._actions
        if not isinstance(action, (argparse._HelpAction, argparse._SubParsersAction))
    ]
    if options:
        lines += ["| option | default | meaning |", "| --- | --- | --- |"]
        lines += [_option_row(parser, action) for action in options]
        lines.append("")
    for name, one in _subparsers(parser).items():
        lines += _verb_section(f"{title} {name}", one, level + 1)
    return lines


def _option_row(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    value = parser._get_formatter()._format_args(action, action.dest.upper()) if action.nargs != 0 else ""
    names = ", ".join(f"`{name}`" for name in action.option_strings) or f"`{value}`"
    if action.option_strings and value:
        names += f" `{value}`"
    default = "" if action.default in (None, False, argparse.SUPPRESS) else f"`{action.default}`"
    help_text = (action.help or "").replace("%%", "%").replace("|", "\\|")
    return f"| {names.replace('|', chr(92) + '|')} | {default} | {' '.join(help_text.split())} |"


def plan_schema_file() -> str:
    """The JSON Schema of plan files."""
    from nnunet_ext.ensemble.plan_schema import plan_schema

    return json.dumps(plan_schema(), indent=2)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put the public names, by room, into the page of the Python API."""
    if page.file.src_uri != "reference/python-api.md":
        return markdown
    return markdown.replace("API_ENTRIES", api_entries())


def api_entries() -> str:
    """A heading for each room, and below it an entry of mkdocstrings for each public name in it."""
    import nnunet_ext

    homes: dict[str, list[str]] = {}
    for name in nnunet_ext.__all__:
        module = nnunet_ext._HOMES[name]
        homes.setdefault(module.split(".")[1], []).append(f"{module}.{name}")
    lines = []
    for room, names in sorted(homes.items()):
        lines += [f"## {room}", ""]
        for name in sorted(names):
            lines += [f"::: {name}", ""]
    return "\n".join(lines)
