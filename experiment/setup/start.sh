#!/bin/sh
# Finds a CPython >= 3.11 and hands over to experiment.setup. Must run before anything is installed.
# PYTHON: the one to use; PYTHON_CHOSEN=yes: it was named by the user, so no other will do.

# The first would keep the checkout off the import path, the second may belong to another Python.
unset PYTHONSAFEPATH PYTHONHOME

good() {
    "$1" -c 'import sys; sys.exit(not (sys.version_info >= (3, 11) and sys.implementation.name == "cpython"))' >/dev/null 2>&1
}

python=
candidates="python3.14 python3.13 python3.12 python3.11"
[ "$PYTHON_CHOSEN" = yes ] && candidates=
for candidate in "${PYTHON:-python3}" $candidates; do
    if good "$candidate"; then
        python=$candidate
        break
    fi
done

if [ -z "$python" ]; then
    wanted=${PYTHON:-python3}
    if path=$(command -v "$wanted"); then
        # Python 2 and shims print to stderr.
        found="$("$wanted" --version 2>&1 | head -n 1) at $path"
    else
        found="nothing of that name on PATH"
    fi
    {
        echo "setup: CPython >= 3.11 is needed to start; $wanted is: $found"
        echo "ways out:"
        echo "  1. name one that is here: make ... PYTHON=/path/to/python3.11"
        echo "  2. install the system's package (Debian, Ubuntu: apt install python3 python3-venv; Fedora: dnf install python3)"
        echo "  3. with uv: uv python install 3.14, then make ... PYTHON=\"\$(uv python find 3.14)\""
    } >&2
    echo "EXIT 1 no CPython >= 3.11 to start with ($wanted is: $found)"
    exit 1
fi
exec "$python" -m experiment.setup "$@"
