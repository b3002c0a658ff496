// ask(): a coroutine on one loop asks a question that another loop's thread answers, without either
// waiting for the other's thread. An asker that is interrupted meanwhile leaves; the late answer
// then goes nowhere.
#pragma once

#include "core/loop.hpp"
#include "core/task.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <utility>

namespace rooster {

/// Gives the answer, once, from any thread.
template <class T>
using Answer = std::move_only_function<void(Result<T>)>;

/// Runs `question` on `other`'s thread; it (or whatever it hands the Answer to) calls the Answer.
/// The loop of `waiter` must outlive the answer. Errors: the answer's own; Interrupted;
/// UpstreamTimeout at `deadline`.
template <class T>
Task<T> ask(Waiter& waiter, Loop& other, TimePoint deadline,
            std::move_only_function<void(Answer<T>)> question) {
  struct State {
    Waiter* asker;
    std::optional<Result<T>> answer;
  };
  auto state = std::make_shared<State>(&waiter);
  Loop& own = waiter.loop();
  Answer<T> reply = [state, &own](Result<T> result) mutable {
    own.post([state = std::move(state), result = std::move(result)]() mutable {
      state->answer.emplace(std::move(result));
      if (state->asker != nullptr) state->asker->notify();
    });
  };
  other.post([question = std::move(question), reply = std::move(reply)]() mutable {
    question(std::move(reply));
  });
  Fault fault = Fault::None;
  while (!state->answer && fault == Fault::None) {
    const Woke woke = co_await waiter.wait(deadline);
    if (woke == Woke::Interrupted) fault = waiter.interrupted_by();
    if (woke == Woke::Deadline) fault = Fault::UpstreamTimeout;
  }
  state->asker = nullptr;
  if (!state->answer) co_return Error(fault);
  co_return std::move(*state->answer);
}

}  // namespace rooster
