"""The documents hold: configurations load, mistakes are told as shown, JSON is valid, commands and links exist."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from pages import ROOT, Block, anchors, blocks, every_block, links, pages, prose

from connectors.registry import all_connectors
from hub.cli import app
from hub.vendor_types import check_agent, check_environment, check_part
from router.expressions import compile_expression
from router.loading import load_documents
from router.problems import ConfigError
from router.shapes import validate
from schemas.config import Rule

MODELS = {found.source: found.settings for found in all_connectors()}
OUTPUTS = {found.source: found.outputs for found in all_connectors()}
COMMANDS = typer.main.get_command(app)
LANGUAGES = {"yaml", "json", "sh", "python", "text", "cel", "sql"}


def load(block: Block) -> Any:
    return load_documents(
        [("triggerhub.yaml", block.text.encode())],
        connection_models=MODELS,
        output_specs=OUTPUTS,
        check_agent=check_agent,
        check_environment=check_environment,
        check_part=check_part,
    )


def whole(block: Block) -> bool:
    return block.text.startswith("version:")


def wrong(block: Block) -> bool:
    """A configuration that is shown with the complaints it gives."""
    return block.after.lstrip().startswith("```text\ntriggerhub.yaml:")


def foreign(block: Block) -> bool:
    """Not ours: Slack's app manifest (test_slack_readme), a Kubernetes object (test_docs_reference), a template of Jira
    Automation (test_jira_readme)."""
    return block.text.startswith(("display_information:", "apiVersion:")) or "{{" in block.text


YAML = every_block("yaml")


@pytest.mark.parametrize("block", [b for b in YAML if whole(b) and not wrong(b)], ids=lambda b: b.name)
def test_a_configuration_loads(block: Block) -> None:
    config, rules = load(block)
    assert config.version == 1
    assert [str(warning) for warning in rules.warnings] == []


@pytest.mark.parametrize("block", [b for b in YAML if whole(b) and wrong(b)], ids=lambda b: b.name)
def test_a_mistake_is_told_as_the_page_shows(block: Block) -> None:
    with pytest.raises(ConfigError) as refused:
        load(block)
    shown = block.after.partition("```text\n")[2].partition("```")[0]
    assert [str(problem) for problem in refused.value.problems] == shown.splitlines()


@pytest.mark.parametrize("block", [b for b in YAML if not whole(b) and not foreign(b)], ids=lambda b: b.name)
def test_a_part_of_a_configuration_is_valid(block: Block) -> None:
    part = yaml.safe_load(block.text)
    assert isinstance(part, dict)
    assert set(part) <= {"connections", "rules"}, "neither a whole configuration nor a known part"
    for name, connection in part.get("connections", {}).items():
        model = MODELS[connection["source"]]
        assert validate(model, connection)[1] == [], name
    for rule in part.get("rules", []):
        assert validate(Rule, rule)[1] == []


@pytest.mark.parametrize("block", [b for b in every_block("json") if not foreign(b)], ids=lambda b: b.name)
def test_json_is_json(block: Block) -> None:
    json.loads(block.text)


@pytest.mark.parametrize("block", every_block("cel"), ids=lambda b: b.name)
def test_conditions_compile_and_name_fields_that_exist(block: Block) -> None:
    for line in block.text.splitlines():
        assert list(compile_expression(line).unknown_fields()) == [], line


def test_every_block_has_a_language_that_is_checked() -> None:
    assert {block.language for block in every_block()} <= LANGUAGES
    assert len(YAML) > 12
    assert sum(foreign(block) for block in every_block()) == 3


def commands() -> list[tuple[str, str]]:
    """(place, command line) of every `triggerhub …` in the documents."""
    found = []
    for block in every_block("sh"):
        lines = block.text.replace("\\\n", " ").splitlines()
        found += [(block.name, line.split(" #")[0].strip()) for line in lines if "triggerhub" in line]
    for page in pages():
        spans = re.findall(r"`(triggerhub(?: [^`]+)?)`", prose(page))
        found += [(str(page.relative_to(ROOT)), span) for span in spans]
    return [(place, line[line.index("triggerhub ") :]) for place, line in found if "triggerhub " in line]


def check_command(words: list[str]) -> str | None:
    """What is wrong with a command line, or None. Placeholders are not looked into."""
    command: Any = COMMANDS
    rest = list(words)
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        if rest[0] not in command.commands:
            return f"no command {rest[0]!r}"
        command, rest = command.commands[rest[0]], rest[1:]
    if hasattr(command, "commands") and words and not rest:
        return f"{words} is only a group"
    known = {option for parameter in command.params for option in parameter.opts}
    known |= {"--help", "-h"}
    for word in rest:
        if word.startswith("-") and word != "-" and word.partition("=")[0] not in known:
            return f"no option {word!r}"
    return None


def test_every_command_that_is_named_exists() -> None:
    seen = commands()
    assert len(seen) > 30
    wrong = []
    for place, line in seen:
        alone = re.split(r"\s(?:\||>|&&|&|;)\s?", line)[0]
        problem = check_command(shlex.split(re.sub(r"[…\[\]]", " ", alone))[1:])
        if problem:
            wrong.append(f"{place}: {line}: {problem}")
    assert not wrong, "\n".join(wrong)


def test_the_readme_names_every_command() -> None:
    known = set()
    for name, command in vars(COMMANDS)["commands"].items():
        inner = getattr(command, "commands", None)
        known |= {f"{name} {one}" for one in inner} if inner else {name}
    table = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Commands")[2].partition("\n## ")[0]
    assert {name for name in known if f"`triggerhub {name}" not in table} == set()


@pytest.mark.parametrize(
    ("line", "wrong"), [("rules chek", "no command"), ("send --conection x", "no option"), ("runs", "group")]
)
def test_a_wrong_command_would_be_found(line: str, wrong: str) -> None:
    assert wrong in (check_command(line.split()) or "")


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for file, anchor in links(page):
        target = (page.parent / file).resolve() if file else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(f"{file}#{anchor}")
    assert broken == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        waiting += [(page.parent / file).resolve() for file, _ in links(page) if file]
    assert set(pages()) <= reached


def test_the_readme_says_what_it_is_on_its_first_screen() -> None:
    first = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:30]
    assert "make demo" in "\n".join(first)
    assert "make test" in "\n".join(first)


def test_make_targets_that_are_named_exist() -> None:
    known = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in pages():
        text = prose(page) + "".join(block.text for block in blocks(page, "sh"))
        named = set(re.findall(r"(?:^|`|&& )make ([a-z]+)", text, re.MULTILINE))
        assert named <= known, page


def test_no_page_names_a_path_of_one_machine() -> None:
    for page in pages():
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"(?<![\w.>])/(?:root|Users|tmp)/", text), page
