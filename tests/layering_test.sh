#!/usr/bin/env bash
# Checks who includes whom: the arrows between folders, and that each library has one door. layering_test.sh BINARY SOURCE_DIR
set -euo pipefail
cd "$2"
failed=0

# complain RULE LINES: prints the offending lines, if any.
complain() {
  [ -z "$2" ] && return
  printf '%s\n%s\n\n' "$1" "$2"
  failed=1
}

# includes FOLDER...: every "file:line:#include ..." of ours in these folders.
includes() { grep -rnE '^[[:space:]]*#[[:space:]]*include' --include='*.h' --include='*.cpp' --include='*.cu' "$@" || true; }

# arrow FOLDER ALLOWED: FOLDER may include our files only from the folders of the pattern ALLOWED.
arrow() {
  complain "$1/ may include only: $2" \
    "$(includes "$1" | grep -E '"(core|comm|losses|data|launch|tests)/' | grep -vE "\"($2)/" || true)"
}
arrow core 'core'
arrow comm 'comm|core'
arrow losses 'losses|comm|core'
arrow data 'data|core'
arrow launch 'launch|data|losses|comm|core'
complain 'of comm/, losses/ may include only communicator.h and rows.h' \
  "$(includes losses | grep '"comm/' | grep -vE '"comm/(communicator|rows)\.h"' || true)"

# door LIBRARY HEADERS FILES: headers matching HEADERS may be included only by files matching FILES.
door() {
  complain "$1 may be included only by: $3" "$(includes core comm losses data launch | grep -E "[<\"]($2)" | grep -vE "^($3)" || true)"
}
door MPI 'mpi\.h' 'comm/(mpi_comm|world)\.cpp:'
door HDF5 'hdf5|H5' 'data/h5\.cpp:'
door yaml-cpp 'yaml-cpp' 'launch/yaml\.cpp:'
door oneDNN 'dnnl|oneapi' 'core/cpu/'
door CUDA 'cuda|cublas|cudnn' 'core/cuda/|comm/nccl_comm\.cpp:'
door NCCL 'nccl' 'comm/nccl_comm\.cpp:'

# A header of ours is named from the root of the tree, so that the rules above see it.
complain 'includes of our own files name the folder' "$(includes core comm losses data launch | grep '"' | grep -vE '"(core|comm|losses|data|launch)/' || true)"

[ "$failed" -eq 0 ] && echo "include arrows and library doors hold"
exit "$failed"
