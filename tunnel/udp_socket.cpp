#include "tunnel/udp_socket.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <functional>
#include <string_view>
#include <vector>

#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>

namespace rooster::tunnel {
namespace {

using namespace std::chrono_literals;

constexpr int kBufferBytes = 4 * 1024 * 1024;  // a burst at 1 Gbit/s while we are not scheduled
constexpr std::size_t kReceiveSlots = 16;
constexpr std::size_t kSlotBytes = 64 * 1024;  // what UDP_GRO gathers at most
constexpr auto kUnsegmentedTime = 10min;       // then a changed route gets its chance
constexpr std::size_t kMaxUnsegmentable = 1024;
constexpr int kTries = 4;  // signals and another destination's queued errors

// From linux/udp.h, which may not stand beside netinet/udp.h.
constexpr int kUdpSegment = 103;
constexpr int kUdpGro = 104;

struct Control {
  alignas(cmsghdr) std::array<char, 128> bytes;
};

void set_option(int fd, int level, int name, int value) {
  ::setsockopt(fd, level, name, &value, sizeof value);
}

// Appends one control message; `header` has room for it.
template <class Value>
void add_control(msghdr& header, int level, int type, const Value& value) {
  auto* message =
      reinterpret_cast<cmsghdr*>(static_cast<char*>(header.msg_control) + header.msg_controllen);
  message->cmsg_level = level;
  message->cmsg_type = type;
  message->cmsg_len = CMSG_LEN(sizeof value);
  std::memcpy(CMSG_DATA(message), &value, sizeof value);
  header.msg_controllen += CMSG_SPACE(sizeof value);
}

void add_source(msghdr& header, const IpAddress& source) {
  if (source.is_v4()) {
    in_pktinfo chosen{};
    std::memcpy(&chosen.ipi_spec_dst, source.bytes().data() + 12, 4);
    add_control(header, IPPROTO_IP, IP_PKTINFO, chosen);
  } else {
    in6_pktinfo chosen{};
    std::memcpy(&chosen.ipi6_addr, source.bytes().data(), 16);
    add_control(header, IPPROTO_IPV6, IPV6_PKTINFO, chosen);
  }
}

}  // namespace

struct UdpSocket::ReceiveSpace {
  std::vector<std::uint8_t> memory = std::vector<std::uint8_t>(kReceiveSlots * kSlotBytes);
  std::array<mmsghdr, kReceiveSlots> headers{};
  std::array<iovec, kReceiveSlots> vectors{};
  std::array<sockaddr_storage, kReceiveSlots> from{};
  std::array<Control, kReceiveSlots> control{};
  std::array<UdpBurst, kReceiveSlots> bursts{};
};

struct UdpSocket::SendSpace {
  std::array<mmsghdr, kMaxSegments> headers{};
  std::array<iovec, kMaxSegments> vectors{};
  sockaddr_storage to{};
  socklen_t to_bytes = 0;
  Control control{};

  // One message of `bytes`, addressed.
  msghdr message(iovec& vector, std::span<const std::uint8_t> bytes, const UdpPath& path) {
    to_bytes = path.remote.to(to);
    vector = {const_cast<std::uint8_t*>(bytes.data()), bytes.size()};
    msghdr header{};
    header.msg_name = &to;
    header.msg_namelen = to_bytes;
    header.msg_iov = &vector;
    header.msg_iovlen = 1;
    header.msg_control = control.bytes.data();
    header.msg_controllen = 0;
    if (path.local != IpAddress()) add_source(header, path.local);
    return header;
  }
};

Result<Descriptor> UdpSocket::bind(const Endpoint& local) {
  sockaddr_storage address{};
  const socklen_t size = local.to(address);
  Descriptor socket(::socket(address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (socket && address.ss_family == AF_INET6) {
    set_option(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, 1);
  }
  if (!socket || ::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), size) != 0) {
    return fail(Fault::Internal, "UDP " + local.to_string() + ": " + std::strerror(errno));
  }
  return socket;
}

UdpSocket::UdpSocket(Descriptor socket)
    : socket_(std::move(socket)),
      receive_(std::make_unique<ReceiveSpace>()),
      send_(std::make_unique<SendSpace>()) {
  const int fd = socket_.get();
  is_v4_ = local().address.is_v4();
  for (const int name : {SO_RCVBUF, SO_SNDBUF, SO_RCVBUFFORCE, SO_SNDBUFFORCE}) {
    set_option(fd, SOL_SOCKET, name, kBufferBytes);  // the forced ones work for root only
  }
  set_option(fd, IPPROTO_UDP, kUdpGro, 1);
  // A path that is narrower than we think fragments our datagrams; it does not lose them.
  if (is_v4_) {
    set_option(fd, IPPROTO_IP, IP_PKTINFO, 1);
    set_option(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT);
  } else {
    set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    set_option(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DONT);
  }
}

UdpSocket::~UdpSocket() = default;
UdpSocket::UdpSocket(UdpSocket&&) noexcept = default;

Endpoint UdpSocket::local() const {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  ::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&address), &size);
  return Endpoint::from(address);
}

// ---- receiving

namespace {

// The local address and the segment size that came with a datagram.
void read_control(msghdr& header, UdpBurst& burst) {
  for (cmsghdr* message = CMSG_FIRSTHDR(&header); message != nullptr;
       message = CMSG_NXTHDR(&header, message)) {
    if (message->cmsg_level == IPPROTO_UDP && message->cmsg_type == kUdpGro) {
      int bytes = 0;
      std::memcpy(&bytes, CMSG_DATA(message), sizeof bytes);
      if (bytes > 0) burst.segment_bytes = static_cast<std::size_t>(bytes);
    } else if (message->cmsg_level == IPPROTO_IP && message->cmsg_type == IP_PKTINFO) {
      in_pktinfo info{};
      std::memcpy(&info, CMSG_DATA(message), sizeof info);
      burst.path.local = IpAddress::v4(ntohl(info.ipi_spec_dst.s_addr));
    } else if (message->cmsg_level == IPPROTO_IPV6 && message->cmsg_type == IPV6_PKTINFO) {
      in6_pktinfo info{};
      std::memcpy(&info, CMSG_DATA(message), sizeof info);
      std::array<std::uint8_t, 16> address;
      std::memcpy(address.data(), &info.ipi6_addr, address.size());
      burst.path.local = IpAddress::from_bytes(address);
    }
  }
}

}  // namespace

std::span<const UdpBurst> UdpSocket::receive() {
  ReceiveSpace& space = *receive_;
  for (std::size_t i = 0; i < kReceiveSlots; ++i) {
    space.vectors[i] = {space.memory.data() + i * kSlotBytes, kSlotBytes};
    msghdr& header = space.headers[i].msg_hdr;
    header = {};
    header.msg_name = &space.from[i];
    header.msg_namelen = sizeof space.from[i];
    header.msg_iov = &space.vectors[i];
    header.msg_iovlen = 1;
    header.msg_control = space.control[i].bytes.data();
    header.msg_controllen = space.control[i].bytes.size();
  }
  int count = -1;
  for (int tries = 0; count < 0 && tries < kTries; ++tries) {
    count = ::recvmmsg(socket_.get(), space.headers.data(), kReceiveSlots, MSG_DONTWAIT, nullptr);
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
  }
  std::size_t bursts = 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(std::max(count, 0)); ++i) {
    mmsghdr& got = space.headers[i];
    if (got.msg_len == 0 || (got.msg_hdr.msg_flags & MSG_TRUNC) != 0) continue;
    UdpBurst& burst = space.bursts[bursts++];
    burst.bytes = {space.memory.data() + i * kSlotBytes, got.msg_len};
    burst.segment_bytes = got.msg_len;
    burst.path = {{}, Endpoint::from(space.from[i])};
    read_control(got.msg_hdr, burst);
    counters_.received += (got.msg_len + burst.segment_bytes - 1) / burst.segment_bytes;
  }
  return {space.bursts.data(), bursts};
}

// ---- sending

std::size_t UdpSocket::EndpointHash::operator()(const Endpoint& endpoint) const {
  const auto& bytes = endpoint.address.bytes();
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return std::hash<std::string_view>{}(text) ^ (std::size_t{endpoint.port} << 16);
}

bool UdpSocket::may_segment(const Endpoint& remote, TimePoint now) const {
  if (unsegmentable_.empty()) return true;
  const auto found = unsegmentable_.find(remote);
  return found == unsegmentable_.end() || found->second <= now;
}

void UdpSocket::stop_segmenting(const Endpoint& remote, TimePoint now) {
  ++counters_.segment_refused;
  if (unsegmentable_.size() >= kMaxUnsegmentable) {
    std::erase_if(unsegmentable_, [now](const auto& entry) { return entry.second <= now; });
    if (unsegmentable_.size() >= kMaxUnsegmentable) unsegmentable_.clear();
  }
  unsegmentable_[remote] = now + kUnsegmentedTime;
}

// What a failed send means. EINVAL has two causes: a source address that is gone, and a segment
// larger than the route's MTU; the source is tried without first.
UdpSocket::Outcome UdpSocket::judge(int reason, bool segmented, const UdpPath& path) const {
  switch (reason) {
    case EAGAIN:
    case ENOBUFS:
      return Outcome::Full;
    case EINVAL:
    case ENETUNREACH:
    case EADDRNOTAVAIL:
    case EHOSTUNREACH:
      if (path.local != IpAddress()) return Outcome::SourceGone;
      return segmented && reason == EINVAL ? Outcome::Unsegmentable : Outcome::Refused;
    case EMSGSIZE:
    case EIO:
    case EOPNOTSUPP:
      return segmented ? Outcome::Unsegmentable : Outcome::Refused;
    default:
      return Outcome::Refused;
  }
}

UdpSocket::Outcome UdpSocket::send_segmented(std::span<const std::uint8_t> bytes,
                                             std::size_t segment_bytes, const UdpPath& path) {
  iovec vector{};
  msghdr header = send_->message(vector, bytes, path);
  const bool segmented = bytes.size() > segment_bytes;
  if (segmented) {
    add_control(header, IPPROTO_UDP, kUdpSegment, static_cast<std::uint16_t>(segment_bytes));
  }
  if (header.msg_controllen == 0) header.msg_control = nullptr;
  for (int tries = 0; tries < kTries; ++tries) {
    if (::sendmsg(socket_.get(), &header, MSG_DONTWAIT) >= 0) return Outcome::Sent;
    // ECONNREFUSED is told of an earlier datagram: this one has not been tried yet.
    if (errno != EINTR && errno != ECONNREFUSED) break;
  }
  return judge(errno, segmented, path);
}

UdpSocket::Outcome UdpSocket::send_each(std::span<const std::uint8_t> bytes,
                                        std::size_t segment_bytes, const UdpPath& path,
                                        std::size_t& done) {
  std::size_t count = 0;
  for (std::size_t at = 0; at < bytes.size() && count < kMaxSegments; at += segment_bytes) {
    const auto piece = bytes.subspan(at, std::min(segment_bytes, bytes.size() - at));
    send_->headers[count].msg_hdr = {};
    if (count == 0) {
      send_->headers[0].msg_hdr = send_->message(send_->vectors[0], piece, path);
    } else {
      send_->headers[count].msg_hdr = send_->headers[0].msg_hdr;
      send_->vectors[count] = {const_cast<std::uint8_t*>(piece.data()), piece.size()};
      send_->headers[count].msg_hdr.msg_iov = &send_->vectors[count];
    }
    ++count;
  }
  for (int tries = 0; tries < kTries; ++tries) {
    const int sent = ::sendmmsg(socket_.get(), send_->headers.data(), static_cast<unsigned>(count),
                                MSG_DONTWAIT);
    if (sent > 0) {
      done = std::min(bytes.size(), static_cast<std::size_t>(sent) * segment_bytes);
      return Outcome::Sent;
    }
    if (errno != EINTR && errno != ECONNREFUSED) break;
  }
  return judge(errno, false, path);
}

std::size_t UdpSocket::send(std::span<const std::uint8_t> bytes, std::size_t segment_bytes,
                            UdpPath& path, TimePoint now) {
  const std::size_t whole = bytes.size();
  const std::size_t run_bytes =
      segment_bytes * std::clamp<std::size_t>(kMaxBatchBytes / segment_bytes, 1, kMaxSegments);
  while (!bytes.empty()) {
    std::size_t done = std::min(bytes.size(), run_bytes);
    const auto run = bytes.first(done);
    const bool together = run.size() <= segment_bytes || may_segment(path.remote, now);
    const Outcome outcome = together ? send_segmented(run, segment_bytes, path)
                                     : send_each(run, segment_bytes, path, done);
    const std::size_t datagrams = (done + segment_bytes - 1) / segment_bytes;
    switch (outcome) {
      case Outcome::Full:
        return whole - bytes.size();
      case Outcome::Unsegmentable:
        stop_segmenting(path.remote, now);
        continue;
      case Outcome::SourceGone:
        ++counters_.source_cleared;
        path.local = {};
        continue;
      case Outcome::Refused: {
        // One by one, only the datagram at the front was looked at.
        if (!together) done = std::min(done, segment_bytes);
        counters_.failed += (done + segment_bytes - 1) / segment_bytes;
        break;
      }
      case Outcome::Sent:
        counters_.sent += datagrams;
        break;
    }
    bytes = bytes.subspan(done);
  }
  return whole;
}

}  // namespace rooster::tunnel
