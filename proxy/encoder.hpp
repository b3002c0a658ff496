// Encoder: one body through gzip, brotli or zstd, in pieces; and a worker's stock of them, which
// bounds what they take.
#pragma once

#include "core/limits.hpp"
#include "proxy/choose_coding.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace rooster::proxy {

/// No I/O and no waiting: bytes in, bytes out.
class Encoder {
 public:
  enum class Then : std::uint8_t {
    More,   ///< keep what helps to compress what follows
    Flush,  ///< everything so far must be readable by the client
    End,    ///< the body is over
  };
  struct Step {
    std::size_t produced = 0;
    bool more = false;    ///< call again, with what is left of the input and fresh room
    bool failed = false;  ///< no memory
  };

  virtual ~Encoder() = default;
  /// Begins another body. `length`: how long it is, where that is known.
  virtual bool begin(std::optional<std::uint64_t> length) = 0;
  /// Takes from `input`'s front and writes to `out`.
  virtual Step step(std::string_view& input, Then then, std::span<char> out) = 0;
  virtual Coding coding() const = 0;
};

/// The encoders of one worker.
class EncoderStock {
 public:
  EncoderStock() = default;
  EncoderStock(const EncoderStock&) = delete;
  EncoderStock& operator=(const EncoderStock&) = delete;

  /// Null: limits::kEncoders are in use, or there is no memory; the body then goes as it is.
  std::unique_ptr<Encoder> take(Coding coding, std::optional<std::uint64_t> length);
  void give(std::unique_ptr<Encoder> encoder);
  std::size_t in_use() const { return in_use_; }

  /// Room for output, valid until the next suspension; made with the first body.
  std::span<char> out();

 private:
  std::array<std::vector<std::unique_ptr<Encoder>>, 4> idle_;
  std::unique_ptr<char[]> out_;
  std::size_t in_use_ = 0;
};

}  // namespace rooster::proxy
