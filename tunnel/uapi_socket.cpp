#include "tunnel/uapi_socket.hpp"

#include "net/listen.hpp"

#include <array>
#include <cerrno>

#include <sys/socket.h>
#include <unistd.h>

namespace rooster::tunnel {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMaxConnections = 8;
constexpr auto kRequestTime = 10s;
constexpr unsigned kOwnerOnly = 0600;
constexpr int kAcceptsPerTurn = 8;

}  // namespace

std::string uapi_path(const std::string& interface) {
  return "/var/run/wireguard/" + interface + ".sock";
}

Result<std::unique_ptr<UapiSocket>> UapiSocket::create(DeviceLoop& device, UapiOptions options) {
  auto listener = net::listen_unix(options.path, kOwnerOnly);
  if (!listener) return fail(listener.error());
  return std::unique_ptr<UapiSocket>(
      new UapiSocket(device, std::move(options), std::move(*listener)));
}

UapiSocket::UapiSocket(DeviceLoop& device, UapiOptions options, Descriptor listener)
    : device_(device),
      options_(std::move(options)),
      group_(device.loop()),
      listener_(device.loop(), std::move(listener)) {
  group_.spawn(accept());
}

UapiSocket::~UapiSocket() = default;

void UapiSocket::stop(std::move_only_function<void()> done) {
  ::unlink(options_.path.c_str());
  group_.interrupt_all(Fault::Interrupted);
  group_.when_empty(std::move(done));
}

Task<> UapiSocket::accept() {
  Waiter waiter(group_);
  for (;;) {
    const Woke woke = co_await waiter.wait(kNever, {&listener_, Pollable::kReadable});
    if (woke == Woke::Interrupted) co_return {};
    for (int i = 0; i < kAcceptsPerTurn; ++i) {
      Descriptor connection(
          ::accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (!connection) {
        listener_.clear(Pollable::kReadable);
        break;
      }
      if (open_ < kMaxConnections) group_.spawn(serve(std::move(connection)));
    }
    if (listener_.is(Pollable::kReadable)) waiter.notify();
  }
}

std::string UapiSocket::answer(const std::string& text) {
  const auto request = parse_uapi(text);
  if (!request) return format_uapi_error(request.error());
  const Moment now = device_.now();
  if (request->is_get) {
    return format_uapi(device_.device(), {device_.listen_port(), 0}, now);
  }
  int error = refusal_of(*request, device_.device(), options_.policy);
  if (error == 0) {
    error = options_.apply ? options_.apply(*request) : apply_uapi(*request, device_.device(), now);
  }
  device_.flush();
  return format_uapi_error(error);
}

// `wg` connects once only to see whether anybody is there: an end without a request is no failure.
Task<> UapiSocket::serve(Descriptor connection) {
  ++open_;
  Waiter waiter(group_);
  Stream stream(group_.loop(), std::move(connection));
  std::string text;
  std::array<char, 4096> piece;
  TimePoint deadline = group_.loop().now() + kRequestTime;
  for (;;) {
    const ReadResult got = stream.read(piece);
    if (got.status == ReadResult::Status::Later) {
      const Woke woke = co_await waiter.wait(deadline, stream.readable());
      if (woke != Woke::Ready) break;
      continue;
    }
    if (got.status != ReadResult::Status::Some) break;
    text.append(piece.data(), got.bytes);
    if (text.size() > kMaxUapiBytes) break;
    if (!is_complete_uapi(text)) continue;
    stream.write(answer(std::exchange(text, {})));
    deadline = group_.loop().now() + kRequestTime;
    const auto sent =
        co_await drain(stream, waiter, deadline, Fault::ClientLeft, Fault::ClientLeft);
    if (!sent) break;
  }
  --open_;
  co_return {};
}

}  // namespace rooster::tunnel
