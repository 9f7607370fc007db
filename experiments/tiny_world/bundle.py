"""Copy what was trained into the package: `python experiments/tiny_world/bundle.py [PART ...]`.

parts     the exports of lvis.pretrain: wan_vae, lean_vae, teacher, text_encoder (float16)
prior     the block-causal few-step prior of lvis.pretrain, packed as 8-bit differences from the teacher
students  outputs/<task>_<vae>_tiny/student of lvis.train, packed likewise
teacher   (only if asked for) the teacher alone: the prior and the students that ship stay what they are, to 8 bits, as
          differences from the new one
"""

import json
import shutil
import sys
from pathlib import Path

import lvis
from lvis.weights import load_student, load_transformer, save_packed_student

OUTPUTS = Path("outputs")
BUNDLED = Path(lvis.__file__).parent / "weights" / "bundled" / "tiny"
PARTS = {
    "wan_vae": "wan_vae/export",
    "lean_vae": "lean_vae/export",
    "teacher": "teacher/export/teacher",
    "text_encoder": "teacher/export/text_encoder",
}
IMAGE_PRIORS = {"pixel_prior": "pixel_prior/export", "image_prior": "image_prior/export"}
PRIOR = "causal_prior/export/prior"
TASKS, VAES = ("inpaint", "deblur", "sr4"), ("wan", "lean")
MOST_BYTES, MOST_IMAGE_BYTES = 25_000_000, 15_000_000


def bundle_parts() -> None:
    for name, folder in (PARTS | IMAGE_PRIORS).items():
        if (OUTPUTS / "pretrain" / folder).is_dir():
            shutil.copytree(OUTPUTS / "pretrain" / folder, BUNDLED / name, dirs_exist_ok=True)


def bundle_prior() -> None:
    base = load_transformer("bundled:tiny/teacher").net.state_dict()
    prior = load_transformer(str(OUTPUTS / "pretrain" / PRIOR))
    save_packed_student(prior, BUNDLED / "prior", base, {})


def bundle_students() -> None:
    base = load_transformer("bundled:tiny/teacher").net.state_dict()
    for task in TASKS:
        for vae in VAES:
            folder = OUTPUTS / f"{task}_{vae}_tiny" / "student"
            if not folder.is_dir():
                print(f"no student in {folder}")
                continue
            student, record = load_student(str(folder))
            record = {key: value for key, value in record.items() if key != "text_len"}
            save_packed_student(student, BUNDLED / f"student_{task}_{vae}", base, record)


def bundle_teacher() -> None:
    """The new teacher; what was packed as a difference from the old one is read first and packed again."""
    packed = [BUNDLED / "prior", *(BUNDLED / f"student_{t}_{v}" for t in TASKS for v in VAES)]
    kept = [(folder, *load_student(str(folder))) for folder in packed]
    shutil.copytree(
        OUTPUTS / "pretrain" / PARTS["teacher"], BUNDLED / "teacher", dirs_exist_ok=True
    )
    base = load_transformer("bundled:tiny/teacher").net.state_dict()
    for folder, student, record in kept:
        record = {key: value for key, value in record.items() if key != "text_len"}
        save_packed_student(student, folder, base, record)


def main() -> None:
    wanted = sys.argv[1:] or ["parts", "prior", "students"]
    if "parts" in wanted:
        bundle_parts()
    if "prior" in wanted:
        bundle_prior()
    if "students" in wanted:
        bundle_students()
    if "teacher" in wanted:
        bundle_teacher()
    sizes = {
        folder.name: sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        for folder in sorted(BUNDLED.iterdir())
        if folder.is_dir()
    }
    print(json.dumps(sizes, indent=2), "total", sum(sizes.values()))
    image_bytes = sum(size for name, size in sizes.items() if name in IMAGE_PRIORS)
    assert image_bytes <= MOST_IMAGE_BYTES, "the image priors are over 15 MB"
    assert sum(sizes.values()) - image_bytes <= MOST_BYTES, "the rest of the bundle is over 25 MB"


if __name__ == "__main__":
    main()
