// What exec asks of the node: a command started in a machine that was woken for it. app/ implements
// it.
#pragma once

#include "core/descriptor.hpp"
#include "core/error.hpp"
#include "core/loop.hpp"
#include "core/task.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace rooster::admin {

struct ExecSpec {
  std::string app{};
  std::string machine{};
  std::vector<std::string> argv{};  ///< never empty
  std::string user{};               ///< "": the machine's
  bool has_terminal = false;
  std::uint16_t rows = 24;
  std::uint16_t columns = 80;
  std::string term{};          ///< $TERM, with a terminal
  bool starts_always = false;  ///< wakes an app, too, that only an operator starts
};

/// A command that runs in a machine. While this lives, the machine counts as in use.
class ExecProcess {
 public:
  virtual ~ExecProcess() = default;
  /// Non-blocking; taken once. With a terminal: its master alone, as `input`.
  struct Ends {
    Descriptor input;
    Descriptor output;
    Descriptor errors;
  };
  virtual Ends take_ends() = 0;
  /// To all of its process group.
  virtual void signal(int number) = 0;
  /// Its code, or 128 + the signal that ended it; nullopt while it runs.
  virtual std::optional<std::uint32_t> status() const = 0;
  /// `ended` is called once, on the loop of the one who started it, when there is a status.
  virtual void on_end(std::move_only_function<void()> ended) = 0;
};

class ExecHost {
 public:
  /// A line for the person who waits; "" only asks. False: nobody waits any more.
  using Notice = std::function<bool(std::string line)>;

  virtual ~ExecHost() = default;
  /// Wakes the machine if it sleeps, waits until its process runs (ready or not), and starts the
  /// command. Errors, with a sentence in `detail`: NoRoute, AutostartOff, the wake's, ExecFailed;
  /// ClientLeft.
  virtual Task<std::unique_ptr<ExecProcess>> start(ExecSpec spec, Notice notice,
                                                   Waiter& waiter) = 0;
};

}  // namespace rooster::admin
