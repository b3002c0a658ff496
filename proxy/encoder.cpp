// The levels are measured (docs/decisions/0024): each is the last step whose bytes saved are worth
// its time on text of 4 to 200 KiB.
#include "proxy/encoder.hpp"

#include <algorithm>
#include <utility>

#include <brotli/encode.h>
#include <zlib.h>
#include <zstd.h>

namespace rooster::proxy {
namespace {

constexpr int kGzipLevel = 4;
constexpr int kBrotliQuality = 4;
constexpr int kZstdLevel = 3;
constexpr int kGzipWindow = 15 + 16;  // 32 KiB; 16: with gzip's frame
constexpr int kGzipMemory = 8;
constexpr int kBrotliWindow = 16;  // the windows, 64 and 128 KiB, are what bounds their memory
constexpr int kZstdWindow = 17;
constexpr std::size_t kOutBytes = 64 * 1024;
constexpr std::size_t kKeptIdle = 4;  // of each coding

const Bytef* as_bytes(std::string_view text) {
  return reinterpret_cast<const Bytef*>(text.data());
}

class GzipEncoder final : public Encoder {
 public:
  ~GzipEncoder() override {
    if (ready_) ::deflateEnd(&stream_);
  }
  bool begin(std::optional<std::uint64_t>) override {
    if (ready_) return ::deflateReset(&stream_) == Z_OK;
    ready_ = ::deflateInit2(&stream_, kGzipLevel, Z_DEFLATED, kGzipWindow, kGzipMemory,
                            Z_DEFAULT_STRATEGY) == Z_OK;
    return ready_;
  }
  Step step(std::string_view& input, Then then, std::span<char> out) override {
    stream_.next_in = const_cast<Bytef*>(as_bytes(input));
    stream_.avail_in = static_cast<uInt>(input.size());
    stream_.next_out = reinterpret_cast<Bytef*>(out.data());
    stream_.avail_out = static_cast<uInt>(out.size());
    const int flush = then == Then::More    ? Z_NO_FLUSH
                      : then == Then::Flush ? Z_SYNC_FLUSH
                                            : Z_FINISH;
    const int result = ::deflate(&stream_, flush);
    input.remove_prefix(input.size() - stream_.avail_in);
    return {.produced = out.size() - stream_.avail_out,
            .more = stream_.avail_out == 0 && result != Z_STREAM_END,
            .failed = result == Z_STREAM_ERROR};
  }
  Coding coding() const override { return Coding::Gzip; }

 private:
  z_stream stream_{};
  bool ready_ = false;
};

class BrotliEncoder final : public Encoder {
 public:
  // The library has no way to begin again.
  bool begin(std::optional<std::uint64_t> length) override {
    state_.reset(::BrotliEncoderCreateInstance(nullptr, nullptr, nullptr));
    if (!state_) return false;
    ::BrotliEncoderSetParameter(state_.get(), BROTLI_PARAM_QUALITY, kBrotliQuality);
    ::BrotliEncoderSetParameter(state_.get(), BROTLI_PARAM_LGWIN, kBrotliWindow);
    if (length) {
      const auto hint = std::min<std::uint64_t>(*length, 1u << 30);
      ::BrotliEncoderSetParameter(state_.get(), BROTLI_PARAM_SIZE_HINT,
                                  static_cast<std::uint32_t>(hint));
    }
    return true;
  }
  Step step(std::string_view& input, Then then, std::span<char> out) override {
    const auto operation = then == Then::More    ? BROTLI_OPERATION_PROCESS
                           : then == Then::Flush ? BROTLI_OPERATION_FLUSH
                                                 : BROTLI_OPERATION_FINISH;
    std::size_t left_in = input.size();
    const std::uint8_t* next_in = as_bytes(input);
    std::size_t left_out = out.size();
    auto* next_out = reinterpret_cast<std::uint8_t*>(out.data());
    const bool done = ::BrotliEncoderCompressStream(state_.get(), operation, &left_in, &next_in,
                                                    &left_out, &next_out, nullptr) == BROTLI_TRUE;
    input.remove_prefix(input.size() - left_in);
    // Where the room was used up a flush's last bits may still be to come.
    const bool waits = left_in > 0 || ::BrotliEncoderHasMoreOutput(state_.get()) == BROTLI_TRUE ||
                       (then != Then::More && left_out == 0);
    return {.produced = out.size() - left_out, .more = done && waits, .failed = !done};
  }
  Coding coding() const override { return Coding::Brotli; }

 private:
  struct Destroy {
    void operator()(BrotliEncoderState* state) const { ::BrotliEncoderDestroyInstance(state); }
  };
  std::unique_ptr<BrotliEncoderState, Destroy> state_;
};

class ZstdEncoder final : public Encoder {
 public:
  bool begin(std::optional<std::uint64_t> length) override {
    if (!context_) {
      context_.reset(::ZSTD_createCCtx());
      if (!context_) return false;
      set(ZSTD_c_compressionLevel, kZstdLevel);
      set(ZSTD_c_windowLog, kZstdWindow);
    }
    ::ZSTD_CCtx_reset(context_.get(), ZSTD_reset_session_only);
    ::ZSTD_CCtx_setPledgedSrcSize(context_.get(), length.value_or(ZSTD_CONTENTSIZE_UNKNOWN));
    return true;
  }
  Step step(std::string_view& input, Then then, std::span<char> out) override {
    const ZSTD_EndDirective end = then == Then::More    ? ZSTD_e_continue
                                  : then == Then::Flush ? ZSTD_e_flush
                                                        : ZSTD_e_end;
    ZSTD_inBuffer from{input.data(), input.size(), 0};
    ZSTD_outBuffer to{out.data(), out.size(), 0};
    const std::size_t left = ::ZSTD_compressStream2(context_.get(), &to, &from, end);
    input.remove_prefix(from.pos);
    const bool failed = ::ZSTD_isError(left) != 0;
    const bool waits = then == Then::More ? !input.empty() : left != 0;
    return {.produced = to.pos, .more = !failed && waits, .failed = failed};
  }
  Coding coding() const override { return Coding::Zstd; }

 private:
  struct Free {
    void operator()(ZSTD_CCtx* context) const { ::ZSTD_freeCCtx(context); }
  };
  void set(ZSTD_cParameter parameter, int value) {
    ::ZSTD_CCtx_setParameter(context_.get(), parameter, value);
  }
  std::unique_ptr<ZSTD_CCtx, Free> context_;
};

std::unique_ptr<Encoder> make(Coding coding) {
  switch (coding) {
    case Coding::Identity:
      return nullptr;
    case Coding::Gzip:
      return std::make_unique<GzipEncoder>();
    case Coding::Brotli:
      return std::make_unique<BrotliEncoder>();
    case Coding::Zstd:
      return std::make_unique<ZstdEncoder>();
  }
  return nullptr;
}

}  // namespace

std::unique_ptr<Encoder> EncoderStock::take(Coding coding, std::optional<std::uint64_t> length) {
  if (in_use_ >= limits::kEncoders) return nullptr;
  auto& idle = idle_[static_cast<std::size_t>(coding)];
  std::unique_ptr<Encoder> encoder;
  if (idle.empty()) {
    encoder = make(coding);
  } else {
    encoder = std::move(idle.back());
    idle.pop_back();
  }
  if (!encoder || !encoder->begin(length)) return nullptr;
  ++in_use_;
  return encoder;
}

void EncoderStock::give(std::unique_ptr<Encoder> encoder) {
  --in_use_;
  auto& idle = idle_[static_cast<std::size_t>(encoder->coding())];
  if (encoder->coding() != Coding::Brotli && idle.size() < kKeptIdle) {
    idle.push_back(std::move(encoder));
  }
}

std::span<char> EncoderStock::out() {
  if (!out_) out_ = std::make_unique_for_overwrite<char[]>(kOutBytes);
  return {out_.get(), kOutBytes};
}

}  // namespace rooster::proxy
