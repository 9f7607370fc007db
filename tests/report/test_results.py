import pytest
from rows import row, write_results

from lvis.errors import UserError
from lvis.report.quantities import quantity
from lvis.report.results import load, quantities, sections
from lvis.report.tables import differences, means


def loaded(tmp_path, rows):
    return load(write_results(tmp_path, rows))


def test_only_what_was_measured_alike_is_compared(tmp_path):
    rows = [
        row("pinv", "a", 20),
        row("pinv", "a", 20, task="deblur"),
        row("pinv", "a", 20, size=[64, 64]),
        row("pinv", "a", 20, frames=33),
        row("pinv", "a", 20, clips="real"),
        row("student", "a", 25),
    ]
    found = sections(loaded(tmp_path, rows))
    assert len(found) == 5
    assert [entry.name for entry in found[0].entries] == ["pinv", "student"]


def test_a_method_that_a_setting_leaves_alone_is_one_entry(tmp_path):
    rows = [
        row("pinv", "a", 20, vae="lean"),
        row("student", "a", 25, vae="lean"),
        row("pinv", "a", 20, vae="wan", seconds=0.7),
        row("pinv", "b", 21, vae="wan"),
        row("student", "a", 26, vae="wan"),
    ]
    [section] = sections(loaded(tmp_path, rows))
    assert [entry.name for entry in section.entries] == ["pinv", "student · lean", "student · wan"]
    assert section.entries[0].values["psnr"] == {"a": 20, "b": 21}
    assert len(section.entries[0].rows["a"]) == 2


def test_an_entry_has_the_same_name_in_every_section(tmp_path):
    rows = [
        row("avis", "a", 24, vae="wan"),
        row("student", "a", 25, vae="lean"),
        row("student", "a", 26, vae="wan"),
        row("avis", "a", 23, vae="wan", task="average"),
        row("student", "a", 22, vae="wan", task="average"),
    ]
    inpainting, averages = sections(loaded(tmp_path, rows))
    names = ["avis", "student · lean", "student · wan"]
    assert [entry.name for entry in inpainting.entries] == names
    assert [entry.name for entry in averages.entries] == [names[0], names[2]]


def test_entries_are_told_apart_in_as_few_words_as_possible(tmp_path):
    def names(*rows: dict) -> list[str]:
        [section] = sections(loaded(tmp_path, list(rows)))
        return [entry.name for entry in section.entries]

    # what changes together is said once
    assert names(
        row("student", "a", 1, label="long", vae="wan"), row("student", "a", 2, label="short")
    ) == ["student · long", "student · short"]
    assert names(
        row("student", "a", 1, label="t", vae="wan"),
        row("student", "a", 2, label="t"),
        row("student", "a", 3, label="u"),
    ) == ["student · t · wan", "student · t · lean", "student · u · lean"]
    # two pairs of labels that a mark does not depend on
    assert names(
        *(row("D(E(y))", "a", 1, label=label) for label in "ab"),
        *(row("D(E(y))", "a", 2, label=label, vae="wan") for label in "cd"),
    ) == ["D(E(y)) · lean", "D(E(y)) · wan"]


def test_a_repeated_run_counts_once_and_seeds_of_a_clip_are_one_clip(tmp_path):
    rows = [
        row("pinv", "a", 1),
        row("pinv", "a", 20),
        row("pinv", "a", 22, seed=1),
    ]
    [section] = sections(loaded(tmp_path, rows))
    assert section.entries[0].values["psnr"] == {"a": 21}


def test_every_further_number_is_a_metric(tmp_path):
    rows = [
        row("pinv", "a", 20, lpips_vgg_224=0.4, sharpness=3, note="x", fvd_i3d_16f=None, ok=True),
        row("pinv", "b", 20, lpips_vgg_224=float("nan"), other=None),
    ]
    found = loaded(tmp_path, rows)
    names = [q.name for q in quantities(found)]
    assert names == [
        "psnr",
        "lpips_vgg_224",
        "sharpness",
        "fvd_i3d_16f",
        "frames_per_second",
    ]
    [section] = sections(found)
    assert section.entries[0].values["lpips_vgg_224"] == {"a": 0.4}
    assert section.entries[0].values["frames_per_second"]["a"] == 18
    assert "fvd_i3d_16f" not in section.entries[0].values
    assert (quantity("lpips_vgg_224").better, quantity("sharpness").better) == (-1, 0)


def test_several_runs_in_one_folder_are_told_apart(tmp_path):
    write_results(tmp_path / "first", [row("student", "a", 20)])
    write_results(tmp_path / "second", [row("student", "a", 21)])
    [section] = sections(load(tmp_path))
    assert [entry.name for entry in section.entries] == ["student · first", "student · second"]


@pytest.mark.parametrize("make", ["nothing", "empty", "file", "foreign", "numbers"])
def test_what_is_no_result_is_one_sentence(tmp_path, make):
    folder = tmp_path / "results"
    lines = {"empty": [], "foreign": [{"loss": 1.0}], "numbers": [1, 2]}
    if make in lines:
        write_results(folder, lines[make])
    if make == "file":
        folder.write_text("")
    with pytest.raises(UserError, match="results") as error:
        load(folder)
    assert "\n" not in str(error.value)


def test_best_goes_by_direction_and_the_ceiling_does_not_compete(tmp_path):
    rows = [
        row(method, clip, psnr, lpips=lpips, sharpness=lpips)
        for method, psnr, lpips in (("pinv", 20, 0.5), ("student", 25, 0.3), ("D(E(x))", 30, 0.1))
        for clip in ("a", "b")
    ]
    found = loaded(tmp_path, rows)
    [section] = sections(found)
    columns = [q for q in quantities(found) if not q.is_speed]
    marks = {
        line.name: [cell.mark for cell in line.cells] for line in means(section, columns, 0.95)
    }
    assert marks == {
        "pinv": ["", "", ""],
        "student": ["best", "best", ""],
        "D(E(x))": ["", "", ""],
    }


def test_differences_are_coloured_where_the_interval_excludes_zero(tmp_path):
    gains = {"clear": (5.0, 5.2, 5.1), "worse": (-5.0, -5.2, -5.1), "unclear": (5.0, -4.0, 0.2)}
    rows = [row("pinv", f"c{place}", 20 + 3 * place) for place in range(3)]
    rows += [
        row(method, f"c{place}", 20 + 3 * place + gain)
        for method, values in gains.items()
        for place, gain in enumerate(values)
    ]
    found = loaded(tmp_path, rows)
    [section] = sections(found)
    columns = quantities(found)[:1]
    lines = differences(section, section.entries[0], columns, 0.95)
    assert {line.name: line.cells[0].mark for line in lines} == {
        "clear": "better",
        "worse": "worse",
        "unclear": "",
    }
    assert lines[0].cells[0].text == "+5.10"
    assert lines[1].cells[0].text == "−5.10"


def test_what_is_best_at_zero_is_not_best_below_it(tmp_path):
    values = {"smeared": -11.8, "right": -0.4, "flickering": 3.0}
    rows = [row(method, "a", 20, flicker_high_band=value) for method, value in values.items()]
    [section] = sections(loaded(tmp_path, rows))
    column = quantity("flicker_high_band")
    assert column.caption == "Flicker (dB) →\u00a00"
    marks = {line.name: line.cells[0].mark for line in means(section, [column], 0.95)}
    assert marks == {"smeared": "", "right": "best", "flickering": ""}


def test_what_a_solver_takes_is_no_quality():
    names = ("peak_memory_growth", "passes_image_prior", "time_to_first_frame")
    assert all(quantity(name).is_speed and quantity(name).better < 0 for name in names)
    assert quantity("peak_memory_growth").unit == "GiB"
