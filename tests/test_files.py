import pytest

from lvis.errors import UserError
from lvis.files import check_place, replacing, write_text


def test_the_target_appears_only_when_the_block_ends_well(tmp_path):
    target = tmp_path / "folder" / "result.txt"
    with replacing(target) as partial:
        partial.write_text("new")
        assert not target.exists()
        assert partial.suffix == target.suffix
    assert target.read_text() == "new"
    assert list(target.parent.iterdir()) == [target]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "result.txt"
    write_text(target, "old")
    with pytest.raises(RuntimeError), replacing(target) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file/result.txt"):
        write_text(tmp_path / "file" / "result.txt", "text")


def test_a_folder_is_never_replaced_by_a_file(tmp_path):
    (tmp_path / "a.json").mkdir()
    with pytest.raises(UserError, match=r"a\.json: is a directory"):
        write_text(tmp_path / "a.json", "text")
    with pytest.raises(UserError, match=r"a\.json is a folder"):
        check_place(tmp_path / "a.json")
    check_place(tmp_path / "a.json", is_file=False)
    assert list(tmp_path.rglob("*")) == [tmp_path / "a.json"]


def test_a_name_as_long_as_the_file_system_takes_is_written(tmp_path):
    target = tmp_path / f"{'é' * 120}.txt"  # 244 bytes; the partial file's own name has to fit, too
    write_text(target, "whole")
    assert target.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [target]
