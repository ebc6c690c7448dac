"""Executes the notebooks without a browser and keeps the executed copies apart: those in notebooks/ have no outputs."""

import os
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import NATIVE_KERNEL_NAME, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from traitlets import default

from experiment.ask import ConfigError
from experiment.setup import CHECKOUT

CELL_LIMIT_S = 60


class OurKernel(AsyncKernelManager):
    """The kernel of this environment, whatever else is called python3 on JUPYTER_PATH or in the user's folders."""

    @default("kernel_spec_manager")
    def _kernel_spec_manager_default(self) -> KernelSpecManager:
        return KernelSpecManager(kernel_dirs=[])


def execute_all(out: Path, run: Path | None = None, folder: Path = CHECKOUT / "notebooks") -> list[Path]:
    """Execute every notebook of a folder in its order of names; a cell that fails raises.

    Args:
        run: what they read, as the variable RUN; without it they read the committed evidence.
    """
    found = sorted(folder.glob("*.ipynb"))
    if not found:
        raise ConfigError(f"no notebook in {folder.name}/")
    out.mkdir(parents=True, exist_ok=True)
    if run is not None:
        os.environ["RUN"] = str(run.resolve())
    written = []
    for path in found:
        notebook = nbformat.read(path, as_version=4)
        NotebookClient(
            notebook,
            timeout=CELL_LIMIT_S,
            kernel_name=NATIVE_KERNEL_NAME,
            kernel_manager_class=OurKernel,
            resources={"metadata": {"path": str(folder)}},
        ).execute()
        nbformat.write(notebook, out / path.name)
        written.append(out / path.name)
    return written
