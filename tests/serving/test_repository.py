from __future__ import annotations

from pathlib import Path

import pytest

from ziggurat.errors import InvalidArgument, NotFound
from ziggurat.serving.repository import Found, scan


def lay(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def short(found: list[Found]) -> list[tuple[str, str]]:
    return [(one.name, one.version) for one in found]


def test_the_three_layouts_are_found_side_by_side(tmp_path: Path) -> None:
    lay(
        tmp_path, "a/1/model.onnx", "a/10/model.onnx", "a/9/model.onnx", "b/model.onnx", "c.onnx", "notes.txt", "d/x.py"
    )
    assert short(scan(tmp_path)) == [("a", "1"), ("a", "9"), ("a", "10"), ("b", "1"), ("c", "1")]


def test_names_follow_folders(tmp_path: Path) -> None:
    lay(tmp_path, "team/vision/resnet/3/model.onnx", "team/text.onnx", ".git/x.onnx", "__pycache__/y.onnx")
    assert short(scan(tmp_path)) == [("team/text", "1"), ("team/vision/resnet", "3")]


@pytest.mark.parametrize("layout", ["model.onnx", "2/model.onnx", "anything.onnx"])
def test_a_path_that_is_one_model_takes_the_name_given(tmp_path: Path, layout: str) -> None:
    folder = lay(tmp_path / "mnt", layout)
    assert [one.name for one in scan(folder, "mine")] == ["mine"]
    assert scan(folder)[0].path == folder / layout


def test_a_file_is_named_after_itself_or_as_told(tmp_path: Path) -> None:
    path = lay(tmp_path, "net.onnx") / "net.onnx"
    assert scan(path) == [Found("net", "1", path)]
    assert scan(path, "team/x") == [Found("team/x", "1", path)]


def test_what_cannot_be_served_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        scan(tmp_path / "nowhere")
    with pytest.raises(InvalidArgument, match=r"expected an \.onnx or \.gguf file or a folder"):
        scan(lay(tmp_path, "weights.bin") / "weights.bin")
    with pytest.raises(InvalidArgument, match="it holds p, q"):
        scan(lay(tmp_path, "p.onnx", "q.onnx"), "one")


def test_language_models_are_folders_with_weights_or_gguf_files(tmp_path: Path) -> None:
    lay(tmp_path, "hf/config.json", "hf/model.safetensors", "team/q/x-Q4_0.gguf", "flat.gguf", "v/2/config.json")
    lay(tmp_path, "v/2/model.safetensors", "half/config.json", "both/model.onnx", "both/config.json", "digits.onnx")
    found = {one.name: one for one in scan(tmp_path)}
    kinds = {name: one.kind for name, one in found.items()}
    language = dict.fromkeys(("hf", "team/q", "flat", "v"), "language")
    assert kinds == language | {"both": "onnx", "digits": "onnx"}
    assert found["hf"].path == tmp_path / "hf" and found["v"].version == "2"
    assert found["team/q"].path == tmp_path / "team/q/x-Q4_0.gguf"


def test_gguf_files_beside_each_other_are_models_of_their_own_but_parts_are_one(tmp_path: Path) -> None:
    lay(tmp_path, "shelf/a.gguf", "shelf/b.gguf", "parts/m-00001-of-00002.gguf", "parts/m-00002-of-00002.gguf")
    assert short(scan(tmp_path)) == [("parts", "1"), ("shelf/a", "1"), ("shelf/b", "1")]
    assert scan(tmp_path / "parts", "mine")[0].name == "mine"
    assert scan(tmp_path / "shelf/a.gguf")[0].kind == "language"


def test_an_empty_folder_is_an_empty_repository(tmp_path: Path) -> None:
    assert scan(tmp_path) == []


@pytest.mark.parametrize("name", ["ready", "x/infer", "a/versions/b", "sp ace", "-flag"])
def test_names_that_routes_could_not_tell_apart_are_refused_with_a_reason(tmp_path: Path, name: str) -> None:
    (found,) = scan(lay(tmp_path, f"{name}.onnx"))
    assert found.name == name and found.problem and "cannot be" in found.problem


def test_two_files_for_one_version_are_told(tmp_path: Path) -> None:
    (found,) = scan(lay(tmp_path, "a.onnx", "a/model.onnx"))
    assert found.problem and "both claim version 1 of 'a'" in found.problem


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    lay(tmp_path, "a/b/m.onnx")
    (tmp_path / "a/b/again").symlink_to(tmp_path, target_is_directory=True)
    names = [one.name for one in scan(tmp_path)]
    assert names[-1] == "a/b/m" and len(names) < 10
