"""The proof in a preprocessed case's file of the plan and the raw files that the case was made from.

It is kept as Blosc2 metadata of `CASE.b2nd`, which nnU-Net does not read. Files of nnU-Net's have none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from nnunet_ext.files.names import TIF_ENDINGS
from nnunet_ext.files.whole import not_written_whole, sha256_of
from nnunet_ext.images.plain_images import spacing_files
from nnunet_ext.preprocessing.plan import CaseFiles

IMAGE, SEGMENTATION, PROPERTIES = ".b2nd", "_seg.b2nd", ".pkl"
MADE_ENDINGS = (SEGMENTATION, IMAGE, "_seg.npy", ".npy", ".npz", PROPERTIES)  # those of older versions, too
ENTRY = "nnunet_ext_made_from"


@dataclass(frozen=True)
class CaseProof:
    """What a preprocessed case was made from.

    Attributes:
        plan_sha256: digest of its `PreprocessingPlan`.
        inputs_sha256: `inputs_digest` of its raw files.
        sizes: bytes of the files beside `CASE.b2nd`: `_seg.b2nd`, `.pkl`.
    """

    plan_sha256: str
    inputs_sha256: str
    sizes: tuple[int, int]


def inputs_digest(files: CaseFiles) -> str:
    """SHA-256 of the bytes of all raw files of a case.

    Raises:
        DamagedFile: one is no regular file.
        OSError: one cannot be read now.
    """
    paths = [*files.images, files.label]
    beside = [
        beside
        for path in paths
        if path.suffix.lower() in TIF_ENDINGS
        for beside in spacing_files(path)
        if beside.is_file()
    ]
    digests = "\n".join(sha256_of(path) for path in [*paths, *beside])
    return hashlib.sha256(digests.encode("ascii")).hexdigest()


def write_proof(folder: Path, files: CaseFiles, plan_sha256: str, inputs_sha256: str) -> None:
    """Write the proof into a case's new files; none where there is no `CASE.b2nd`.

    Raises:
        OSError: it cannot be written, as on a full disk.
    """
    import blosc2

    image = folder / f"{files.case_id}{IMAGE}"
    if not image.is_file():
        return
    proof = CaseProof(plan_sha256, inputs_sha256, _sizes(folder, files.case_id))
    before = blosc2.set_nthreads(1)  # the number is in the file
    try:
        array = blosc2.open(str(image), mode="a")
        array.schunk.vlmeta[ENTRY] = [plan_sha256, inputs_sha256, *proof.sizes]
    except RuntimeError as error:
        raise not_written_whole(image, str(error)) from error
    finally:
        blosc2.set_nthreads(before)
    if read_proof(folder, files.case_id) != proof:
        raise not_written_whole(image, "other metadata are read back")


def read_proof(folder: Path, case_id: str) -> CaseProof | None:
    """Read the proof of a case; None where it has none, or where its files are not whole."""
    import blosc2

    try:
        array = blosc2.open(str(folder / f"{case_id}{IMAGE}"), mode="r")
        plan, inputs, *sizes = array.schunk.vlmeta[ENTRY]
        proof = CaseProof(str(plan), str(inputs), (int(sizes[0]), int(sizes[1])))
        return proof if proof.sizes == _sizes(folder, case_id) else None
    except Exception:  # Blosc2 raises errors of many types for damaged files
        return None


def _sizes(folder: Path, case_id: str) -> tuple[int, int]:
    segmentation, properties = folder / f"{case_id}{SEGMENTATION}", folder / f"{case_id}{PROPERTIES}"
    return _size(segmentation), _size(properties)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


def cases_in(folder: Path) -> set[str]:
    """Names of the cases whose images lie in a folder of preprocessed cases."""
    names = (path.name for path in folder.iterdir())
    return {
        name.removesuffix(IMAGE) for name in names if name.endswith(IMAGE) and not name.endswith(SEGMENTATION)
    }


def remove_other_cases(folder: Path, kept: Collection[str]) -> None:
    """Remove the preprocessed files of all cases but some; files of other kinds stay.

    Images go first, by which nnU-Net knows a case.

    Raises:
        OSError: a file cannot be removed.
    """
    found = []
    for path in folder.iterdir():
        ending = next((one for one in MADE_ENDINGS if path.name.endswith(one)), None)
        if ending is None or not path.is_file():
            continue
        is_kept = path.name.removesuffix(ending) in kept and ending in (IMAGE, SEGMENTATION, PROPERTIES)
        if not is_kept:
            found.append((ending != IMAGE, path))
    for _, path in sorted(found):
        path.unlink(missing_ok=True)
