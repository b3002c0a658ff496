#include "keeper/packet_channel.hpp"

#include <array>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace rooster::keeper {
namespace {

// First byte of a datagram that only stands for a memfd; no version is ever this number.
constexpr char kLargeMark = '\xFF';
constexpr int kSeals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

Descriptor sealed_copy(const std::string& bytes) {
  Descriptor memory(::memfd_create("rooster-message", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory) return memory;
  std::size_t written = 0;
  while (written < bytes.size()) {
    const ssize_t n = ::write(memory.get(), bytes.data() + written, bytes.size() - written);
    if (n <= 0) return {};
    written += static_cast<std::size_t>(n);
  }
  if (::fcntl(memory.get(), F_ADD_SEALS, kSeals) != 0) return {};
  return memory;
}

/// The sealed bytes, or nothing: an unsealed memfd could change, or shrink under us, while we read.
std::string read_sealed(int memory) {
  const int seals = ::fcntl(memory, F_GET_SEALS);
  struct stat about = {};
  if (seals < 0 || (seals & kSeals) != kSeals || ::fstat(memory, &about) != 0) return {};
  if (about.st_size <= 0 || static_cast<std::size_t>(about.st_size) > kMaxMessageBytes) return {};
  std::string bytes(static_cast<std::size_t>(about.st_size), '\0');
  std::size_t read = 0;
  while (read < bytes.size()) {
    const ssize_t n =
        ::pread(memory, bytes.data() + read, bytes.size() - read, static_cast<off_t>(read));
    if (n <= 0) return {};
    read += static_cast<std::size_t>(n);
  }
  return bytes;
}

Sending send_datagram(int channel, std::string_view bytes, const std::vector<int>& descriptors) {
  iovec part = {.iov_base = const_cast<char*>(bytes.data()), .iov_len = bytes.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * (kMaxDescriptors + 1))> control = {};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!descriptors.empty()) {
    const std::size_t size = sizeof(int) * descriptors.size();
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(size);
    cmsghdr* head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(size);
    std::memcpy(CMSG_DATA(head), descriptors.data(), size);
  }
  while (::sendmsg(channel, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
    if (errno == EINTR) continue;
    // ETOOMANYREFS: too many descriptors in flight; they drain as the other side reads.
    const bool again =
        errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM || errno == ETOOMANYREFS;
    if (again) return Sending::WouldBlock;
    return errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN ? Sending::Gone
                                                                      : Sending::Impossible;
  }
  return Sending::Sent;
}

void take_descriptors(msghdr& message, Descriptors& descriptors) {
  for (cmsghdr* head = CMSG_FIRSTHDR(&message); head != nullptr;
       head = CMSG_NXTHDR(&message, head)) {
    if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(head) + i * sizeof(int), sizeof fd);
      descriptors.emplace_back(fd);
    }
  }
}

}  // namespace

Sending send_packet(int channel, const Packet& packet) {
  if (packet.bytes.size() > kMaxMessageBytes || packet.descriptors.size() > kMaxDescriptors)
    return Sending::Impossible;
  std::vector<int> descriptors;
  Descriptor memory;
  std::string_view bytes = packet.bytes;
  if (bytes.size() > kInlineBytes) {
    memory = sealed_copy(packet.bytes);
    if (!memory) return Sending::Impossible;
    descriptors.push_back(memory.get());
    bytes = std::string_view(&kLargeMark, 1);
  }
  for (const Descriptor& one : packet.descriptors) descriptors.push_back(one.get());
  return send_datagram(channel, bytes, descriptors);
}

Receiving receive_packet(int channel, Packet& packet) {
  packet.bytes.resize(kInlineBytes);
  packet.descriptors.clear();
  iovec part = {.iov_base = packet.bytes.data(), .iov_len = packet.bytes.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * (kMaxDescriptors + 1))> control = {};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  ssize_t n = -1;
  do {
    n = ::recvmsg(channel, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (n < 0 && errno == EINTR);
  if (n < 0 && errno == EAGAIN) return Receiving::Nothing;
  if (n <= 0) return Receiving::Gone;
  packet.bytes.resize(static_cast<std::size_t>(n));
  take_descriptors(message, packet.descriptors);
  if (packet.bytes.front() != kLargeMark) return Receiving::Received;
  packet.bytes.clear();
  if (packet.descriptors.empty()) return Receiving::Received;
  packet.bytes = read_sealed(packet.descriptors.front().get());
  packet.descriptors.erase(packet.descriptors.begin());
  return Receiving::Received;
}

std::uint64_t id_of(const Packet& packet) {
  constexpr std::size_t kIdAt = 3;  // after version, class and kind
  if (packet.bytes.size() < kIdAt + 8) return 0;
  std::uint64_t id = 0;
  for (std::size_t i = 8; i-- > 0;)
    id = id << 8 | static_cast<unsigned char>(packet.bytes[kIdAt + i]);
  return id;
}

std::pair<Descriptor, Descriptor> make_channel() {
  std::array<int, 2> ends = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()) != 0)
    return {};
  return {Descriptor(ends[0]), Descriptor(ends[1])};
}

}  // namespace rooster::keeper
