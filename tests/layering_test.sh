#!/usr/bin/env bash
# Checks who includes whom: the arrows between folders and rooms, and that each library has one door. layering_test.sh BINARY SOURCE_DIR
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
complain 'of comm/, losses/ may include only communicator.h, group.h and rows.h' \
  "$(includes losses | grep '"comm/' | grep -vE '"comm/(communicator|group|rows)\.h"' || true)"
complain 'outside of core/, no body of a backend is included, only its maker in core/backend.h' \
  "$(includes comm losses data launch | grep -E '"core/cpu/' || true)"

# room ROOM [ROOMS]: of its own folder, a room may include itself, only these rooms, and launch/command.h. Who comes first is included by who comes later: no cycles.
room() {
  local folder=${1%%/*} allowed="${1#*/}${2:+|$2}"
  complain "$1/ may include of $folder/ only: $allowed" "$(includes "$1" | grep -E "\"$folder/" | grep -vE "\"$folder/(($allowed)/|command\.h)" || true)"
  rooms="$rooms $1"
}
rooms=
room data/files
room data/text 'files'
room data/records 'files'
room data/cleaning 'files|text|records'
room data/plan 'files'
room data/corpus 'files|records|plan'
room data/mining 'files'
room data/batches 'files|text|corpus|plan|mining'
room data/models 'files|text'
room data/checkpoints 'files'
room launch/console
room launch/config 'console'
room launch/evaluation
room launch/inference 'console|config|evaluation'
room launch/weights 'config|inference'
room launch/mining
room launch/networks 'config|inference|mining'
room launch/training 'console|config|mining|networks'
room launch/prediction 'config|networks|training'
room launch/bench 'console|config|prediction'
room launch/commands 'console|config|evaluation|inference|weights|networks|training'
complain 'every folder of data/ and launch/ is a room named here' \
  "$(find data launch -mindepth 1 -type d | while read -r d; do case " $rooms " in *" $d "*) ;; *) echo "$d" ;; esac; done)"
complain 'data/ has no file outside its rooms, launch/ only main.cpp and command.h' \
  "$(find data launch -maxdepth 1 -name '*.h' -o -maxdepth 1 -name '*.cpp' | grep -vxE 'launch/(main\.cpp|command\.h)' || true)"

# door LIBRARY HEADERS FILES: headers matching HEADERS may be included only by files matching FILES.
door() {
  complain "$1 may be included only by: $3" "$(includes core comm losses data launch | grep -E "[<\"]($2)" | grep -vE "^($3)" || true)"
}
door MPI 'mpi\.h' 'comm/(mpi_comm|world)\.cpp:'
door HDF5 'hdf5|H5' 'data/files/h5\.cpp:'
door yaml-cpp 'yaml-cpp' 'launch/config/yaml\.cpp:'
door oneDNN 'dnnl|oneapi' 'core/cpu/'
door CUDA 'cuda|cublas' 'core/cuda/|comm/nccl/'
door cuDNN 'cudnn[._]' 'core/cuda/cudnn/attention_graph\.cpp:'
door NCCL 'nccl\.h' 'comm/nccl/'

# A header of ours is named from the root of the tree, so that the rules above see it.
complain 'includes of our own files name the folder' "$(includes core comm losses data launch | grep '"' | grep -vE '"(core|comm|losses|data|launch)/' || true)"

[ "$failed" -eq 0 ] && echo "include arrows and library doors hold"
exit "$failed"
