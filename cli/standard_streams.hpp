// The command's own standard input, output and errors as Streams of its loop, whatever they are
// (terminals, pipes, files): a thread each carries the bytes, so that nothing blocks the loop and
// nothing is set on descriptors that other programs share. And the terminal's raw mode.
#pragma once

#include "core/loop.hpp"
#include "core/stream.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <thread>

#include <termios.h>

namespace rooster::cli {

/// Carries bytes from one descriptor to another on a thread of its own until the first ends.
class CarryThread {
 public:
  CarryThread(int from, int to, Descriptor owned);
  /// Ends it: waits for what is on the way only if `from` has ended.
  ~CarryThread();
  CarryThread(const CarryThread&) = delete;
  CarryThread& operator=(const CarryThread&) = delete;
  /// Waits until all has been carried.
  void join();

 private:
  Descriptor stop_;
  Descriptor owned_;  // our end of the socketpair
  std::thread thread_;
};

class StandardStreams {
 public:
  explicit StandardStreams(Loop& loop);
  /// Standard input; its end is the stream's.
  Stream& input() { return *input_; }
  Stream& output() { return *output_; }
  Stream& errors() { return *errors_; }
  /// Ends output and errors and waits until all of both is written. They must have nothing pending.
  void finish();

 private:
  std::unique_ptr<Stream> input_;
  std::unique_ptr<Stream> output_;
  std::unique_ptr<Stream> errors_;
  std::unique_ptr<CarryThread> from_input_;
  std::unique_ptr<CarryThread> to_output_;
  std::unique_ptr<CarryThread> to_errors_;
};

/// While it lives, the terminal gives each key as it is typed.
class RawTerminal {
 public:
  explicit RawTerminal(int fd);
  ~RawTerminal();
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;

 private:
  int fd_;
  bool is_raw_ = false;
  termios before_{};
};

struct TerminalSize {
  std::uint16_t rows = 24;
  std::uint16_t columns = 80;
};
/// nullopt: not a terminal, or it doesn't say.
std::optional<TerminalSize> terminal_size(int fd);

}  // namespace rooster::cli
