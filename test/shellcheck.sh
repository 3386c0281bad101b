#!/bin/sh
# Runs shellcheck over every shell file of the checkout, templates included.
set -eu
cd "$(dirname "$0")/.."

find . -name node_modules -prune -o -name .git -prune -o -type f \
  \( -name '*.sh' -o -path './.ci/*' \) -print |
  LC_ALL=C sort | xargs shellcheck --external-sources
find . -name node_modules -prune -o -name .git -prune -o -type f -name '*.bash' -print |
  LC_ALL=C sort | xargs --no-run-if-empty shellcheck --shell=bash --external-sources
