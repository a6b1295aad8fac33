// What a process does before it ends: never for longer than a limit, even where a file system hangs.
#pragma once

#include <chrono>
#include <functional>

namespace lodestone {

/// How long last words may take.
constexpr auto last_words_time = std::chrono::milliseconds(1500);

/// Calls `words` on a thread of its own and waits for its return, for last_words_time at most: the caller ends the process next, whether it
/// has returned or not. What it throws is dropped; where there is no thread to be had, nothing is called.
void say_last_words(std::function<void()> words);

}  // namespace lodestone
