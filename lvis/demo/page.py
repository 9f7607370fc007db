"""The page that the demo leaves: index.html beside the pictures and clips that it shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from lvis.demo.clips import DemoClip
from lvis.demo.restorations import CEILING, METHODS, Restored
from lvis.demo.training import Trained
from lvis.files import write_text

ABOUT_TASKS = {
    "inpaint": (
        "Inpainting",
        "Half of the pixels are missing, at the same places in every frame.",
    ),
    "deblur": (
        "Deblurring",
        "Every frame is blurred with a Gaussian; its sigma is 3 pixels.",
    ),
    "sr4": ("Super-resolution x4", "Every frame is shrunk to a quarter of its width and height."),
}


@dataclass(frozen=True)
class Page:
    """What the page tells.

    Attributes:
        trained: None when nothing was trained.
        facts: label -> words, about the machine and the versions.
        seconds: that the whole demo took.
    """

    clips: Sequence[DemoClip]
    restored: Sequence[Restored]
    trained: Trained | None
    facts: Mapping[str, str]
    seed: int
    seconds: float


def write_page(page: Page, folder: Path) -> Path:
    """Write `folder`/index.html with links relative to it; returns its path.

    Everything that the page shows must lie in `folder`.

    Raises:
        UserError: the folder cannot be written.
    """

    def link(path: Path) -> str:
        return path.relative_to(folder).as_posix()

    def size(picture: Path) -> Markup:
        with Image.open(picture) as image:
            return Markup(f'width="{image.width}" height="{image.height}"')

    environment = Environment(
        loader=PackageLoader("lvis.demo", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"link": link, "size": size}
    tasks = dict.fromkeys(restored.task for restored in page.restored)
    html = environment.get_template("page.html.j2").render(
        page=page,
        methods=METHODS,
        ceiling=CEILING,
        behind=[found for found in page.restored if _best(found) == "pinv"],
        best=_best,
        tasks=[
            {
                "name": task,
                "title": ABOUT_TASKS.get(task, (task, ""))[0],
                "about": ABOUT_TASKS.get(task, (task, ""))[1],
                "restored": [restored for restored in page.restored if restored.task == task],
            }
            for task in tasks
        ],
    )
    write_text(folder / "index.html", html)
    return folder / "index.html"


def _best(restored: Restored) -> str:
    """The method with the highest PSNR; of equals the last, so that a tie with pinv is not its win."""
    return max(reversed(METHODS), key=lambda method: restored.scores[method].psnr)
