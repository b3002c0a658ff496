// Task<T>: a lazy coroutine that yields a Result<T>. One frame each, frames recycled per thread,
// continuation by symmetric transfer. A suspended frame is never destroyed: what waits is resumed
// with an Error instead (core/loop.hpp, Waiter), so every coroutine runs to its end.
#pragma once

#include "core/error.hpp"

#include <cassert>
#include <coroutine>
#include <cstddef>
#include <cstdlib>
#include <exception>
#include <new>
#include <optional>
#include <utility>

namespace rooster {

namespace detail {

/// Told when a task that nobody awaits has ended, and its frame is gone.
class TaskOwner {
 public:
  virtual void task_ended() = 0;

 protected:
  ~TaskOwner() = default;
};

/// Free lists of coroutine frames in classes of 64 bytes, one set per thread. A frame is freed on
/// the thread that ends the coroutine, which is the one that began it: coroutines never change
/// threads.
class FrameCache {
 public:
  static void* allocate(std::size_t bytes);
  static void release(void* frame, std::size_t bytes) noexcept;
};

class PromiseBase {
 public:
  static void* operator new(std::size_t bytes) { return FrameCache::allocate(bytes); }
  static void operator delete(void* frame, std::size_t bytes) noexcept {
    FrameCache::release(frame, bytes);
  }
  std::suspend_always initial_suspend() noexcept { return {}; }
  struct Final {
    bool await_ready() noexcept { return false; }
    template <class Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> ended) noexcept {
      TaskOwner* const owner = ended.promise().owner_;
      if (owner == nullptr) return ended.promise().continuation_;
      ended.destroy();
      owner->task_ended();
      return std::noop_coroutine();
    }
    void await_resume() noexcept {}
  };
  Final final_suspend() noexcept { return {}; }
  void unhandled_exception() noexcept { std::terminate(); }  // errors are values in coroutines
  void set_continuation(std::coroutine_handle<> next) { continuation_ = next; }
  void set_owner(TaskOwner& owner) { owner_ = &owner; }

 private:
  TaskOwner* owner_ = nullptr;
  std::coroutine_handle<> continuation_ = std::noop_coroutine();
};

}  // namespace detail

template <class T = void>
class [[nodiscard]] Task {
 public:
  class promise_type : public detail::PromiseBase {
   public:
    Task get_return_object() { return Task(Handle::from_promise(*this)); }
    void return_value(Result<T> result) { result_.emplace(std::move(result)); }
    void return_value(Error error) { result_.emplace(std::unexpected(std::move(error))); }
    Result<T> take() { return std::move(*result_); }

   private:
    std::optional<Result<T>> result_;
  };
  using Handle = std::coroutine_handle<promise_type>;

  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Task& operator=(Task&&) = delete;
  ~Task() {
    if (handle_) handle_.destroy();
  }

  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> caller) noexcept {
    handle_.promise().set_continuation(caller);
    return handle_;
  }
  Result<T> await_resume() { return handle_.promise().take(); }

  /// Begins it with nobody awaiting it: at its end the frame goes by itself and `owner` is told.
  /// For TaskGroup.
  void start(detail::TaskOwner& owner) && {
    const Handle own = std::exchange(handle_, nullptr);
    own.promise().set_owner(owner);
    own.resume();
  }

 private:
  explicit Task(Handle handle) : handle_(handle) {}
  Handle handle_;
};

}  // namespace rooster
