#include "comm/last_words.h"

#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

namespace lodestone {

void say_last_words(std::function<void()> words) {
  struct Said {
    std::mutex mutex;
    std::condition_variable changed;
    bool done = false;
  };
  const auto said = std::make_shared<Said>();  // the thread may outlive this function, not the process
  try {
    std::thread([words = std::move(words), said] {
      try {
        words();
      } catch (const std::exception&) {  // nobody is left to hear of it
      }
      const std::lock_guard lock(said->mutex);
      said->done = true;
      said->changed.notify_one();
    }).detach();
    std::unique_lock lock(said->mutex);
    said->changed.wait_for(lock, last_words_time, [&] { return said->done; });
  } catch (const std::exception&) {  // no thread to be had
  }
}

}  // namespace lodestone
