// What a backend says of memory beside the arena, unless it says otherwise: there is none.
#include "core/scratch_model.h"

namespace lodestone {

std::unique_ptr<ScratchModel> Backend::scratch_model() const { return std::make_unique<ScratchModel>(); }

}  // namespace lodestone
