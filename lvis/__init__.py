"""lvis: restore real video measurements block by block with video diffusion priors."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lvis.restorer import Restorer

__version__ = "0.1.0"
__all__ = ["Restorer", "__version__"]


def __getattr__(name: str) -> Any:
    # torch takes seconds to import, and a command's --help needs none of it
    if name == "Restorer":
        from lvis.restorer import Restorer

        return Restorer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
