#include "tunnel/tun_port.hpp"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace rooster::tunnel {
namespace {

constexpr std::size_t kReadBytes = sizeof(OffloadHeader) + 65'536;

}  // namespace

Result<std::unique_ptr<TunPort>> TunPort::create(Descriptor device) {
  const int flags = ::fcntl(device.get(), F_GETFL);
  ifreq request{};
  if (flags < 0 || ::fcntl(device.get(), F_SETFL, flags | O_NONBLOCK) != 0 ||
      ::ioctl(device.get(), TUNGETIFF, &request) != 0) {
    return fail(Fault::Internal, std::string("TUN device: ") + std::strerror(errno));
  }
  const bool with_header = (request.ifr_flags & IFF_VNET_HDR) != 0;
  return std::unique_ptr<TunPort>(new TunPort(std::move(device), with_header));
}

TunPort::TunPort(Descriptor device, bool with_header)
    : device_(std::move(device)),
      with_header_(with_header),
      read_(std::make_unique_for_overwrite<std::uint8_t[]>(kReadBytes)),
      slots_(std::make_unique_for_overwrite<std::uint8_t[]>(kMaxPackets * kMaxPacketBytes)) {
  if (!with_header_) return;
  int header_bytes = sizeof(OffloadHeader);
  ::ioctl(device_.get(), TUNSETVNETHDRSZ, &header_bytes);
  // Checksums and TCP only: every kernel since 2.6.27 has them.
  const unsigned long offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
  joined_ = ::ioctl(device_.get(), TUNSETOFFLOAD, offloads) == 0;
}

TunPort::~TunPort() = default;

// True: the splitter has packets.
bool TunPort::read_one() {
  // A packet that makes no sense to us is no reason to stop; there are at most so many in a row.
  for (std::size_t tries = 0; tries < kMaxPackets; ++tries) {
    const ssize_t got = ::read(device_.get(), read_.get(), kReadBytes);
    if (got <= 0) return false;
    const std::size_t skip = with_header_ ? sizeof(OffloadHeader) : 0;
    OffloadHeader offload{};
    if (static_cast<std::size_t>(got) < skip) continue;
    std::memcpy(&offload, read_.get(), skip);
    if (splitter_.begin(offload, {read_.get() + skip, static_cast<std::size_t>(got) - skip})) {
      return true;
    }
    ++dropped_;
  }
  return false;
}

std::span<const Packet> TunPort::take() {
  std::size_t count = 0;
  while (count < kMaxPackets) {
    if (splitter_.is_done() && !read_one()) break;
    std::uint8_t* slot = slots_.get() + count * kMaxPacketBytes;
    const std::size_t bytes = splitter_.next({slot, kMaxPacketBytes});
    if (bytes == 0) {
      ++dropped_;
    } else {
      taken_[count++] = {slot, bytes};
    }
  }
  return {taken_.data(), count};
}

void TunPort::give(std::span<const Packet> packets) {
  if (!with_header_) {
    for (const Packet packet : packets) {
      if (::write(device_.get(), packet.data(), packet.size()) < 0) ++dropped_;
    }
    return;
  }
  for (const Joiner::Write& write : joiner_.join(packets)) {
    const auto parts = static_cast<int>(write.parts.size());
    if (::writev(device_.get(), write.parts.data(), parts) < 0) {
      dropped_ += write.parts.size() - 1;
    }
  }
}

}  // namespace rooster::tunnel
