// Any text as a UAPI request. What is understood can be done; what `get` then says, set on a new
// device, makes the same device; and the gateway's policy lets nobody widen what a peer may reach.
#include "tunnel/uapi.hpp"

#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>

namespace {

using namespace rooster;
using namespace rooster::tunnel;
using namespace std::chrono_literals;

void require(bool holds) {
  if (!holds) std::abort();
}

class FixedRandom final : public RandomSource {
 public:
  void fill(std::span<std::uint8_t> out) override {
    for (auto& byte : out) byte = ++last_;
  }

 private:
  std::uint8_t last_ = 0;
};

const Moment kNow{TimePoint(1000s), WallTime(1'700'000'000s)};

/// The reply to get=1 as a request: without what only time makes.
std::string as_request(std::string_view reply) {
  std::string request = "set=1\nreplace_peers=true\n";
  while (!reply.empty()) {
    const std::size_t end = reply.find('\n');
    const std::string_view line = reply.substr(0, end);
    reply.remove_prefix(end + 1);
    const bool is_figure = line.starts_with("last_handshake") || line.starts_with("tx_bytes") ||
                           line.starts_with("rx_bytes") || line.starts_with("errno");
    if (!is_figure) (request += line) += '\n';
  }
  return request;
}

void check_same_device(const Device& device) {
  const std::string reply = format_uapi(device, {}, kNow);
  require(reply.ends_with("\nerrno=0\n\n"));
  FixedRandom random;
  Device copy(PrivateKey::generate(random), {}, random);
  const auto request = parse_uapi(as_request(reply));
  require(request.has_value());
  require(apply_uapi(*request, copy, kNow) == 0);
  require(format_uapi(copy, {}, kNow) == reply);
}

void check_gateway(const UapiRequest& request) {
  FixedRandom random;
  Device device(PrivateKey::generate(random), {}, random);
  PeerSettings settings;
  settings.allowed_ips = {*Prefix::parse("fdaa:0:33::1/128")};
  for (const UapiPeer& peer : request.peers) {
    settings.key = peer.key;
    (void)device.add_peer(settings, kNow);
    break;  // one is known, the others are not
  }
  if (refusal_of(request, device, UapiPolicy::Gateway) != 0 || request.is_get) return;
  const std::size_t before = device.peers().size();
  require(apply_uapi(request, device, kNow) == 0);
  require(device.peers().size() <= before);
  for (const PeerId peer : device.peers()) {
    require(device.settings(peer)->allowed_ips == settings.allowed_ips);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto request = parse_uapi(text);
  if (!request) return 0;
  require(is_complete_uapi(text));
  check_gateway(*request);
  if (request->is_get) return 0;
  FixedRandom random;
  Device device(PrivateKey::generate(random), {}, random);
  require(apply_uapi(*request, device, kNow) == 0);
  check_same_device(device);
  return 0;
}
