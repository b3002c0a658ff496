#include "dns/udp_service.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace rooster::dns {
namespace {

constexpr std::size_t kBatch = 32;
constexpr std::size_t kQueryBytes = 4096;  // a longer datagram is no query
constexpr int kBatchesPerTurn = 8;         // then others have their turn

// Room for either family's packet information.
constexpr std::size_t kControlBytes = CMSG_SPACE(sizeof(in6_pktinfo));
using Control = std::array<char, kControlBytes>;

bool is_link_local(const in6_addr& address) {
  return address.s6_addr[0] == 0xfe && (address.s6_addr[1] & 0xc0) == 0x80;
}

/// Turns what was received (the address asked) into what is to be sent (the source). The interface
/// is left to routing: the way back need not be the way in (AnyIP's is `lo`).
void turn_round(msghdr& header) {
  for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr; part = CMSG_NXTHDR(&header, part)) {
    if (part->cmsg_level == IPPROTO_IPV6 && part->cmsg_type == IPV6_PKTINFO) {
      in6_pktinfo information{};
      std::memcpy(&information, CMSG_DATA(part), sizeof information);
      if (!is_link_local(information.ipi6_addr)) information.ipi6_ifindex = 0;
      std::memcpy(CMSG_DATA(part), &information, sizeof information);
    } else if (part->cmsg_level == IPPROTO_IP && part->cmsg_type == IP_PKTINFO) {
      in_pktinfo information{};
      std::memcpy(&information, CMSG_DATA(part), sizeof information);
      information.ipi_spec_dst = information.ipi_addr;
      information.ipi_ifindex = 0;
      std::memcpy(CMSG_DATA(part), &information, sizeof information);
    }
  }
}

}  // namespace

struct UdpService::Batch {
  std::array<std::array<char, kQueryBytes>, kBatch> queries;
  std::array<std::array<char, kMaxUdpBytes>, kBatch> answers;
  std::array<sockaddr_storage, kBatch> sources;
  std::array<Control, kBatch> controls;
  std::array<iovec, kBatch> in_pieces;
  std::array<iovec, kBatch> out_pieces;
  std::array<mmsghdr, kBatch> in;
  std::array<mmsghdr, kBatch> out;

  void prepare() {
    for (std::size_t i = 0; i < kBatch; ++i) {
      in_pieces[i] = {queries[i].data(), queries[i].size()};
      in[i] = {};
      in[i].msg_hdr = {.msg_name = &sources[i],
                       .msg_namelen = sizeof(sockaddr_storage),
                       .msg_iov = &in_pieces[i],
                       .msg_iovlen = 1,
                       .msg_control = controls[i].data(),
                       .msg_controllen = controls[i].size()};
    }
  }
};

/// A query that waits for upstream, with the way back to its asker.
struct UdpService::Pending {
  std::string query;
  sockaddr_storage source{};
  socklen_t source_bytes = 0;
  Control control{};
  std::size_t control_bytes = 0;
  std::array<char, kMaxUdpBytes> answer;
};

UdpService::UdpService(TaskGroup& group, Descriptor fd, Responder& responder)
    : group_(group),
      pollable_(group.loop(), std::move(fd), Pollable::kReadable | Pollable::kWritable),
      responder_(responder),
      waiter_(group),
      batch_(std::make_unique<Batch>()) {
  const int on = 1;
  const int socket = pollable_.fd();
  ::fcntl(socket, F_SETFL, ::fcntl(socket, F_GETFL) | O_NONBLOCK);
  int family = 0;
  socklen_t size = sizeof family;
  ::getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &family, &size);
  if (family == AF_INET6) {
    ::setsockopt(socket, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on);
    // An address that is local by its route alone (AnyIP) is no source without it: EINVAL.
    ::setsockopt(socket, IPPROTO_IPV6, IPV6_FREEBIND, &on, sizeof on);
  } else {
    ::setsockopt(socket, IPPROTO_IP, IP_PKTINFO, &on, sizeof on);
  }
}

UdpService::~UdpService() = default;

Task<> UdpService::run() {
  while (!waiter_.is_interrupted()) {
    int batches = 0;
    while (batches < kBatchesPerTurn && serve_batch()) ++batches;
    if (batches == kBatchesPerTurn) waiter_.notify();
    co_await waiter_.wait(kNever, {&pollable_, Pollable::kReadable});
  }
  co_return {};
}

// False: the socket is empty.
bool UdpService::serve_batch() {
  Batch& batch = *batch_;
  batch.prepare();
  const int got = ::recvmmsg(pollable_.fd(), batch.in.data(), kBatch, MSG_DONTWAIT, nullptr);
  if (got <= 0) {
    // Other errors are of an earlier answer (ICMP) and are gone with this call.
    if (errno == EAGAIN || errno == EWOULDBLOCK) pollable_.clear(Pollable::kReadable);
    return errno != EAGAIN && errno != EWOULDBLOCK && errno != EBADF;
  }
  std::size_t answers = 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(got); ++i) {
    std::size_t length = batch.in[i].msg_len;
    // Cut off by the kernel: only its header is looked at, and answered with FORMERR.
    if ((batch.in[i].msg_hdr.msg_flags & MSG_TRUNC) != 0) length = kHeaderBytes;
    const std::string_view query(batch.queries[i].data(), length);
    const IpAddress source = Endpoint::from(batch.sources[i]).address;
    const auto outcome =
        responder_.respond(source, query, Carrier::Datagram, batch.answers[answers]);
    turn_round(batch.in[i].msg_hdr);
    if (outcome.next == Responder::Next::Send) {
      prepare_answer(i, answers++, outcome.size);
    } else if (outcome.next == Responder::Next::Wait) {
      auto pending = std::make_unique<Pending>();
      const msghdr& header = batch.in[i].msg_hdr;
      pending->query = query;
      pending->source = batch.sources[i];
      pending->source_bytes = header.msg_namelen;
      pending->control = batch.controls[i];
      pending->control_bytes = header.msg_controllen;
      group_.spawn(answer_later(std::move(pending)));
    }
  }
  send_answers(answers);
  if (static_cast<std::size_t>(got) == kBatch) return true;
  pollable_.clear(Pollable::kReadable);  // what comes from now on is a new edge
  return false;
}

/// The answer in place `answers` goes back to where query `index` came from.
void UdpService::prepare_answer(std::size_t index, std::size_t answers, std::size_t size) {
  Batch& batch = *batch_;
  batch.out_pieces[answers] = {batch.answers[answers].data(), size};
  batch.out[answers] = {};
  batch.out[answers].msg_hdr = batch.in[index].msg_hdr;
  batch.out[answers].msg_hdr.msg_iov = &batch.out_pieces[answers];
  batch.out[answers].msg_hdr.msg_flags = 0;
}

// What the kernel does not take now is lost, as datagrams may be; one refused alone is left out.
void UdpService::send_answers(std::size_t count) {
  std::size_t sent = 0;
  while (sent < count) {
    const int taken = ::sendmmsg(pollable_.fd(), batch_->out.data() + sent,
                                 static_cast<unsigned>(count - sent), MSG_DONTWAIT);
    if (taken <= 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    sent += taken > 0 ? static_cast<std::size_t>(taken) : 1;
  }
}

Task<> UdpService::answer_later(std::unique_ptr<Pending> pending) {
  Waiter waiter(group_);
  const IpAddress source = Endpoint::from(pending->source).address;
  const auto size = co_await responder_.recurse(source, pending->query, Carrier::Datagram,
                                                pending->answer, waiter);
  if (!size || waiter.is_interrupted()) co_return {};
  iovec piece{pending->answer.data(), *size};
  const msghdr header{.msg_name = &pending->source,
                      .msg_namelen = pending->source_bytes,
                      .msg_iov = &piece,
                      .msg_iovlen = 1,
                      .msg_control = pending->control.data(),
                      .msg_controllen = pending->control_bytes};
  (void)::sendmsg(pollable_.fd(), &header, MSG_DONTWAIT);
  co_return {};
}

}  // namespace rooster::dns
