// DeviceTexts and DeviceMasks: a batch of texts as operations read it, in the memory of a backend. Backend.h makes them.
#pragma once

#include "core/batch.h"
#include "core/tensor.h"

namespace lodestone {

/// B texts of S tokens. What is known of them without asking the device stands beside the tensors. Of filled texts (core/step_texts.h) the
/// last ones only fill up: nobody reads their vectors.
struct DeviceTexts {
  ConstTensor ids;      // [S] i32
  ConstTensor offsets;  // [B+1] i64: text b is ids[offsets[b] .. offsets[b+1])
  ConstTensor keys;     // [B] i64, as TokenBatch::keys; empty: nothing is dropped
  ConstTensor second;   // [B] i64, as TokenBatch::second; empty: every token has type 0
  // [S] i32 each, where the backend asks for them: the text that a token belongs to, and its place there.
  ConstTensor text_of, place;
  int64_t shortest = 0, longest = 0;  // tokens of a text; of filled texts the shortest of those that are not there to fill up
  int64_t ids_end = 0;                // every id is below it
  int64_t given = -1;                 // of filled texts: how many are not there to fill up. -1: they are not filled

  int64_t texts() const { return offsets.empty() ? 0 : offsets.count() - 1; }
  bool filled() const { return given >= 0; }
  /// Those whose vectors somebody wants: the first ones.
  int64_t given_texts() const { return filled() ? given : texts(); }
  int64_t tokens() const { return ids.count(); }
  /// The same texts with other ids [S] in their places, which are below `end`.
  DeviceTexts with_ids(ConstTensor other, int64_t end) const {
    DeviceTexts texts = *this;
    texts.ids = other;
    texts.ids_end = end;
    texts.second = {};
    return texts;
  }
  /// The same texts, of which nothing is dropped.
  DeviceTexts without_dropout() const {
    DeviceTexts texts = *this;
    texts.keys = {};
    return texts;
  }
};

/// KeyMasks of such texts.
struct DeviceMasks {
  ConstTensor bits;    // [.] i64
  ConstTensor first;   // [B] i64
  ConstTensor of_row;  // [S] u8
};

/// Both as the host reads them. Throws Error (internal) unless they lie on the CPU.
TokenBatch on_host(const DeviceTexts& texts);
KeyMasks on_host(const DeviceMasks& masks);

}  // namespace lodestone
