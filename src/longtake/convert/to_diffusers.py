"""Writes a model as a folder that diffusers opens as a custom pipeline."""

import json
import shutil
from importlib import resources
from pathlib import Path

from longtake.checkpoint import whole_folder
from longtake.hub import INDEX, find_model

CODE, CLASS, MODEL = "pipeline.py", "LongtakePipeline", "longtake"
VERSION = "0.42.1"
"""Version of diffusers with which the pipeline was tested."""


def convert_to_diffusers(model: str | Path, folder: Path, *, overwrite: bool = False) -> None:
    """Write a folder for ``DiffusionPipeline.from_pretrained(folder, custom_pipeline=folder)``.

    The folder holds the model, unchanged, and the code of the pipeline, which needs the package
    longtake. diffusers runs that code only with ``trust_remote_code=True``.

    Args:
        model: a model folder, a run's folder, the name of a model that comes with longtake, or a
            hub id.
        folder: the folder to write.
        overwrite: replace an existing folder; otherwise it is an ExistsError.

    Raises:
        CheckpointError: there is no such model.
        ExistsError: the folder exists, and ``overwrite`` is false.
    """
    source = find_model(model)
    code = resources.files("longtake.convert") / "diffusers_pipeline.py"
    index = {
        "_class_name": [CODE.removesuffix(".py"), CLASS],
        "_diffusers_version": VERSION,
        "model_folder": MODEL,
    }
    with whole_folder(folder, overwrite=overwrite) as partial:
        shutil.copytree(source, partial / MODEL)
        (partial / CODE).write_text(code.read_text(encoding="utf-8"), encoding="utf-8")
        (partial / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
