"""What `--help` of an entry point prints: usage, keys with their comments, groups with their options."""

import re
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

_SECTION = re.compile(r"^\S[^:]*:")


def help_page(config_name: str, conf: Path) -> str:
    """The page of `conf/<config_name>.yaml`, whose comments say what each key is for."""
    usage, keys, groups = _read(config_name, conf)
    lines = [*usage, "", "Keys, as KEY=VALUE:", "", *keys, "Groups, as GROUP=OPTION:", ""]
    width = max((len(name) for name in groups), default=0)
    for name, default in groups.items():
        options = sorted(path.stem for path in (conf / name).glob("*.yaml"))
        lines.append(f"{name:<{width}}  {' | '.join(options)}   (default: {default})")
    lines += [
        "",
        f"The options' own keys are in {conf}, as GROUP.KEY=VALUE.",
        "--cfg job --resolve prints everything composed and runs nothing; -m runs one job for each of "
        "KEY=A,B,C; --hydra-help says more.",
    ]
    return "\n".join(lines)


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
