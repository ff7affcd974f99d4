"""`python -m bench.functions_worker.worker`: the real worker, with the arguments that its host gives it.

The app's folder is in the environment, see `SCRIPT_ROOT`.
"""

import os
import sys

import bench.functions_worker.protocol  # noqa: F401 (puts the messages in the place where the worker imports them)

SCRIPT_ROOT = "AzureWebJobsScriptRoot"
"""The variable that names the app's folder, as in Azure."""


def main() -> None:
    from azure_functions_worker.main import main as serve

    # In Azure the app's folder comes last; the one that `-m` put first would hide an import that fails there.
    del sys.path[0]
    sys.path.append(os.environ[SCRIPT_ROOT])
    serve()


if __name__ == "__main__":
    main()
