#include "keeper/client.hpp"

#include "core/time.hpp"
#include "keeper/packet_channel.hpp"

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <memory>
#include <string_view>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

namespace rooster::keeper {

namespace {

// One turn of the control thread must stay short however much the keeper has to say.
constexpr int kPacketsPerTurn = 256;

}  // namespace

Client::Client(Descriptor channel) : channel_(std::move(channel)) {
  if (const int flags = ::fcntl(channel_.get(), F_GETFL); flags >= 0)
    ::fcntl(channel_.get(), F_SETFL, flags | O_NONBLOCK);
}

void Client::request(Request request, OnReply on_reply) {
  if (!is_open()) return on_reply(Failed{.error = EPIPE, .text = "the keeper is gone"});
  if (pending_.size() >= kMaxPending)
    return on_reply(Failed{.error = EAGAIN, .text = "too many requests to the keeper"});
  const std::uint64_t id = next_id_++;
  Packet packet = encode(NumberedRequest{.id = id, .request = std::move(request)});
  if (packet.bytes.size() > kMaxMessageBytes)
    return on_reply(Failed{.error = E2BIG, .text = "arguments and environment are too large"});
  pending_.emplace(id, std::move(on_reply));
  unsent_.push_back(std::move(packet));
  flush();
}

void Client::flush() {
  while (is_open() && !unsent_.empty()) {
    const Sending sending = send_packet(channel_.get(), unsent_.front());
    // Gone is left to on_readable(): replies and events sent before the end are still to be read.
    if (sending == Sending::WouldBlock || sending == Sending::Gone) return;
    const std::uint64_t id = id_of(unsent_.front());
    unsent_.pop_front();
    if (sending == Sending::Impossible)
      deliver(NumberedReply{.id = id, .reply = Failed{.error = EMFILE, .text = "not sent"}});
  }
}

void Client::on_writable() {
  flush();
}

bool Client::on_readable() {
  for (int i = 0; i < kPacketsPerTurn && is_open(); ++i) {
    Packet packet;
    const Receiving got = receive_packet(channel_.get(), packet);
    if (got == Receiving::Nothing) {
      flush();
      return false;
    }
    if (got == Receiving::Gone) {
      close_channel();
      return false;
    }
    const std::uint64_t id = id_of(packet);
    if (auto message = decode_from_keeper(std::move(packet))) {
      deliver(std::move(*message));
    } else {
      // The kernel drops descriptors that this process has no room for; the reply is then
      // incomplete.
      deliver(
          NumberedReply{.id = id, .reply = Failed{.error = EMFILE, .text = "reply not readable"}});
    }
  }
  flush();
  return is_open();
}

void Client::deliver(FromKeeper message) {
  if (auto* event = std::get_if<Event>(&message)) {
    if (on_event_) on_event_(std::move(*event));
    return;
  }
  auto& reply = std::get<NumberedReply>(message);
  auto node = pending_.extract(reply.id);
  if (!node.empty()) node.mapped()(std::move(reply.reply));
}

void Client::close_channel() {
  channel_.reset();
  unsent_.clear();
  auto pending = std::exchange(pending_, {});
  for (auto& [id, on_reply] : pending)
    on_reply(Failed{.error = EPIPE, .text = "the keeper is gone"});
  if (on_closed_) on_closed_();
}

void Client::list(std::function<void(Alive)> each, std::function<void(std::int32_t error)> done) {
  list_after({}, std::move(each), std::move(done));
}

void Client::list_after(std::string after, std::function<void(Alive)> each,
                        std::function<void(std::int32_t error)> done) {
  request(List{.after = std::move(after)},
          [this, each = std::move(each), done = std::move(done)](Reply reply) {
            if (auto* failed = std::get_if<Failed>(&reply)) return done(failed->error);
            auto* page = std::get_if<Machines>(&reply);
            if (page == nullptr) return done(EPROTO);
            std::string last = page->machines.empty() ? "" : page->machines.back().machine;
            for (Alive& machine : page->machines) each(std::move(machine));
            if (!page->has_more) return done(0);
            list_after(std::move(last), each, done);
          });
}

Reply Client::call(Request request, std::chrono::milliseconds timeout) {
  // Shared with the callback: a reply later than `timeout` must find a place that is still there.
  auto answer = std::make_shared<std::optional<Reply>>();
  this->request(std::move(request), [answer](Reply reply) { answer->emplace(std::move(reply)); });
  const TimePoint deadline = Clock::now() + timeout;
  while (!answer->has_value()) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(remaining(deadline, Clock::now()));
    if (left.count() <= 0) return Failed{.error = ETIMEDOUT, .text = "the keeper did not answer"};
    pollfd watch = {.fd = fd(), .events = POLLIN, .revents = 0};
    if (wants_write()) watch.events |= POLLOUT;
    if (::poll(&watch, 1, static_cast<int>(left.count())) > 0) on_readable();
  }
  return std::move(**answer);
}

Result<Client> connect_inherited() {
  const char* text = std::getenv(kChannelVariable);
  if (text == nullptr) return fail(Fault::Internal, "not started by a keeper");
  const std::string_view digits(text);
  int number = -1;
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  const bool is_number = parsed.ec == std::errc() && parsed.ptr == digits.data() + digits.size();
  ::unsetenv(kChannelVariable);
  int type = 0;
  socklen_t size = sizeof type;
  if (!is_number || ::getsockopt(number, SOL_SOCKET, SO_TYPE, &type, &size) != 0 ||
      type != SOCK_SEQPACKET)
    return fail(Fault::Internal, "the keeper's channel is not a socket");
  ::fcntl(number, F_SETFD, FD_CLOEXEC);
  return Client(Descriptor(number));
}

}  // namespace rooster::keeper
