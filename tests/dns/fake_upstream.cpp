#include "tests/dns/fake_upstream.hpp"

#include "dns/lookup.hpp"
#include "dns/name.hpp"
#include "dns/reply.hpp"

#include <array>
#include <cstring>

#include <poll.h>
#include <sys/socket.h>

namespace rooster::dns::testing {
namespace {

constexpr std::uint32_t kLife = 300;

Descriptor bound(int kind, std::uint16_t port) {
  Descriptor fd(::socket(AF_INET, kind | SOCK_CLOEXEC, 0));
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_storage address{};
  const socklen_t size = Endpoint{*IpAddress::parse("127.0.0.1"), port}.to(address);
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size) != 0) return {};
  if (kind == SOCK_STREAM && ::listen(fd.get(), 16) != 0) return {};
  return fd;
}

std::uint16_t port_of(const Descriptor& fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size);
  return Endpoint::from(address).port;
}

void add_address(Reply& reply, std::string_view owner, std::string_view text) {
  const IpAddress address = *IpAddress::parse(text);
  const std::string bytes(reinterpret_cast<const char*>(address.bytes().data()), 16);
  reply.begin(Section::Answer, owner, address.is_v4() ? type::kA : type::kAaaa, kLife);
  reply.bytes(address.is_v4() ? bytes.substr(12) : bytes);
  reply.end();
}

void add_hint(Reply& reply, std::string_view owner, std::string_view text) {
  const IpAddress address = *IpAddress::parse(text);
  reply.begin(Section::Answer, owner, type::kHttps, kLife);
  reply.u16(1);
  reply.u8(0);
  reply.u16(6);
  reply.u16(16);
  reply.bytes({reinterpret_cast<const char*>(address.bytes().data()), 16});
  reply.end();
}

void add_soa(Reply& reply, std::string_view zone) {
  reply.begin(Section::Authority, zone, type::kSoa, 900);
  reply.name(zone);
  reply.name(zone);
  for (int i = 0; i < 5; ++i) reply.u32(900);
  reply.end();
}

}  // namespace

FakeUpstream::FakeUpstream() {
  // The TCP port of the same number may be taken: try another one.
  for (int attempt = 0; attempt < 50 && !streams_; ++attempt) {
    datagrams_ = bound(SOCK_DGRAM, 0);
    port_ = port_of(datagrams_);
    streams_ = bound(SOCK_STREAM, port_);
  }
  thread_ = std::thread([this] { run(); });
}

FakeUpstream::~FakeUpstream() {
  stopping_ = true;
  thread_.join();
}

void FakeUpstream::run() {
  std::array<char, 4096> block;
  std::array<pollfd, 2> wanted{pollfd{datagrams_.get(), POLLIN, 0},
                               pollfd{streams_.get(), POLLIN, 0}};
  while (!stopping_) {
    if (::poll(wanted.data(), wanted.size(), 20) <= 0) continue;
    if ((wanted[0].revents & POLLIN) != 0) {
      sockaddr_storage from{};
      socklen_t size = sizeof from;
      const ssize_t got = ::recvfrom(datagrams_.get(), block.data(), block.size(), 0,
                                     reinterpret_cast<sockaddr*>(&from), &size);
      const std::string reply =
          got > 0 ? answer({block.data(), static_cast<std::size_t>(got)}, false) : "";
      if (reply.empty()) continue;
      (void)::sendto(datagrams_.get(), reply.data(), reply.size(), 0,
                     reinterpret_cast<sockaddr*>(&from), size);
    }
    if ((wanted[1].revents & POLLIN) != 0) {
      const Descriptor client(::accept4(streams_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      const timeval patience{.tv_sec = 2};
      ::setsockopt(client.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
      const ssize_t got = ::recv(client.get(), block.data(), block.size(), 0);
      std::string_view stream(block.data(), static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
      const auto query = take_frame(stream);
      const std::string reply = query ? frame(answer(*query, true)) : "";
      if (reply.size() > 2) (void)::send(client.get(), reply.data(), reply.size(), MSG_NOSIGNAL);
    }
  }
}

std::string FakeUpstream::answer(std::string_view message, bool is_stream) {
  ++questions_;
  const auto query = read_query(message);
  if (!query || silent_) return {};
  std::string out(kMaxMessageBytes, '\0');
  Reply reply(out, *query, is_stream ? Carrier::Stream : Carrier::Datagram);
  const Labels labels(query->name);
  const std::string first(labels.size() == 0 ? "" : labels[0]);
  const auto begins = [&](const char* word) { return first.starts_with(word); };
  if (begins("mute")) return {};
  const bool is_six = query->type == type::kAaaa;
  if (begins("none")) {
    reply.set_rcode(Rcode::NxDomain);
    add_soa(reply, query->name.substr(labels.offset(1)));
  } else if (begins("fail")) {
    reply.set_rcode(Rcode::ServFail);
  } else if (begins("plain") && query->edns) {
    Query bare = *query;
    bare.edns.reset();
    Reply refusal(out, bare, Carrier::Datagram);
    refusal.set_rcode(Rcode::FormErr);
    out.resize(refusal.finish());
    return out;
  } else if (begins("inside") && is_six) {
    add_address(reply, query->name, "fdaa::1");
    add_address(reply, query->name, "2001:db8::1");
  } else if (begins("hint")) {
    add_hint(reply, query->name, "fdaa:0:1::2");
    add_hint(reply, query->name, "2001:db8::2");
  } else if (begins("lan") || begins("rooster")) {
    add_address(reply, query->name, "10.0.0.1");
  } else if (begins("alias")) {
    const std::string target = *name_from_text("one.example");
    reply.begin(Section::Answer, query->name, type::kCname, kLife);
    reply.name(target);
    reply.end();
    add_address(reply, target, is_six ? "2001:db8::1" : "192.0.2.1");
  } else if (begins("large")) {
    reply.begin(Section::Answer, query->name, type::kTxt, kLife);
    reply.text(std::string(3000, 'x'));
    reply.end();
  } else {
    add_address(reply, query->name, is_six ? "2001:db8::1" : "192.0.2.1");
  }
  out.resize(reply.finish());
  return out;
}

}  // namespace rooster::dns::testing
