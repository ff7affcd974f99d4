@echo off
rem The command line on Windows: gateway --help
setlocal
if not exist "%~dp0.venv\Scripts\python.exe" (
    echo gateway: it is not installed yet: in this folder run py -m venv .venv ^&^& .venv\Scripts\pip install -r requirements-dev.txt 1>&2
    exit /b 1
)
set "PYTHONPATH=%~dp0"
"%~dp0.venv\Scripts\python.exe" -P -m admin %*
