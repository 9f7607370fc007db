"""What `--help` of an entry point prints: usage, keys with their comments, groups with their options."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

_SECTION = re.compile(r"^[^\s#][^:]*:")
# groups whose keys people change: the page lists those of the chosen option
DETAILED = ("solver", "distill", "data", "trainer")


def help_page(config_name: str, conf: Path, arguments: Sequence[str] = ()) -> str:
    """The page of `conf/<config_name>.yaml`, whose comments say what each key is for.

    `arguments` such as `solver=avis` choose the options whose own keys are listed.
    """
    usage, keys, groups = _read(config_name, conf)
    for argument in arguments:
        name, equals, option = argument.partition("=")
        if equals and (conf / name / f"{option}.yaml").is_file():
            groups[name] = option
    lines = [*usage, "", "Keys, as KEY=VALUE:", "", *keys, "Groups, as GROUP=OPTION:", ""]
    width = max((len(name) for name in groups), default=0)
    for name, default in groups.items():
        options = sorted(path.stem for path in (conf / name).glob("*.yaml"))
        lines.append(f"{name:<{width}}  {' | '.join(options)}   (default: {default})")
    for name in (group for group in DETAILED if group in groups):
        option = re.sub(r"\$\{(\w+)\}", lambda found: groups.get(found[1], ""), groups[name])
        lines += [
            "",
            f"Keys of {name}={option}, as {name}.KEY=VALUE:",
            "",
            *_option(conf, name, option),
        ]
    lines += [
        "",
        f"The keys of the other options are in {conf}; GROUP=OPTION --help shows those of one.",
        "--cfg job --resolve prints the composed configuration and runs nothing; -m runs one job per value of "
        "KEY=A,B,C; --hydra-help has more.",
    ]
    return "\n".join(lines)


def _option(conf: Path, group: str, option: str) -> list[str]:
    """The key lines of an option; those of an option that it builds on come first."""
    path = conf / group / f"{option}.yaml"
    lines: list[str] = []
    loaded: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    for entry in loaded.get("defaults", []):
        if isinstance(entry, str) and entry != "_self_":
            lines += [*_option(conf, group, entry), f"# {option} changes:"]
    own = _key_lines(path.read_text(encoding="utf-8").splitlines())
    return [*lines, *(line for line in own if line and not line.startswith("_target_:"))]


def _read(config_name: str, conf: Path) -> tuple[list[str], list[str], dict[str, str]]:
    """Usage, key lines and groups with their defaults; those of a configuration that it builds on come first."""
    path = conf / f"{config_name}.yaml"
    text = path.read_text(encoding="utf-8").splitlines()
    usage = [line.removeprefix("# ") for line in text if line.startswith("# python")]
    keys = _key_lines(text)
    groups: dict[str, str] = {}
    loaded: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    for entry in loaded.get("defaults", []):
        if isinstance(entry, str):
            if entry != "_self_":
                _, inherited, more = _read(entry, conf)
                keys, groups = inherited + keys, {**more, **groups}
            continue
        for name, option in entry.items():
            if not name.startswith("override "):
                groups[name.removeprefix("optional ")] = "none" if option is None else str(option)
    return usage, keys, groups


def _key_lines(text: list[str]) -> list[str]:
    """The file without its opening comments, its defaults and Hydra's own keys."""
    kept, section = [], ""
    for line in text:
        if found := _SECTION.match(line):
            section = found[0]
        if section and section not in ("defaults:", "hydra:"):
            kept.append(line)
    return kept
