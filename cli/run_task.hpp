// run_task: a command's coroutine on its loop, to the end.
#pragma once

#include "core/loop.hpp"
#include "core/task.hpp"

#include <chrono>
#include <functional>
#include <optional>

namespace rooster::cli {

/// Runs `make`'s task and the loop until the task has ended; the loop can be used again afterwards.
template <class T>
Result<T> run_task(Loop& loop, std::function<Task<T>(Waiter&)> make) {
  struct Run {
    static Task<> all(TaskGroup& group, const std::function<Task<T>(Waiter&)>& make_task,
                      std::optional<Result<T>>& result) {
      Waiter waiter(group);
      result.emplace(co_await make_task(waiter));
      co_return {};
    }
  };
  TaskGroup group(loop);
  std::optional<Result<T>> result;
  group.spawn(Run::all(group, make, result));
  while (!result || group.size() > 0) loop.run_for(std::chrono::seconds(1));
  return std::move(*result);
}

}  // namespace rooster::cli
