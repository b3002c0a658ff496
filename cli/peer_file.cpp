#include "cli/peer_file.hpp"

#include "cli/node_client.hpp"
#include "core/private_address.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

namespace rooster::cli {
namespace {

constexpr std::string_view kEnrol = "Rooster-Enrol";

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r')) {
    text.remove_suffix(1);
  }
  return text;
}

bool is_word(std::string_view text, std::string_view word) {
  return std::ranges::equal(text, word, [](char a, char b) {
    return std::tolower(static_cast<unsigned char>(a)) ==
           std::tolower(static_cast<unsigned char>(b));
  });
}

// "fdaa:…:2/120" and whatever stands behind a comma -> the first address.
std::optional<IpAddress> address_of(std::string_view value) {
  value = trimmed(value.substr(0, value.find(',')));
  return IpAddress::parse(value.substr(0, value.find('/')));
}

class Reader {
 public:
  Result<PeerFile> read(std::string_view text) {
    std::size_t number = 0;
    while (!text.empty()) {
      const std::size_t end = text.find('\n');
      ++number;
      if (auto taken = take(trimmed(text.substr(0, end))); !taken) {
        return fail(Fault::BadRequest, fmt::format("line {}: {}", number, taken.error().detail));
      }
      text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    }
    if (file_.key.is_zero()) return missing("PrivateKey in [Interface]");
    if (file_.membership.address == IpAddress()) return missing("Address in [Interface]");
    if (file_.membership.gateway == tunnel::PublicKey{}) return missing("PublicKey in [Peer]");
    if (file_.membership.endpoint.empty()) return missing("Endpoint in [Peer]");
    const auto network = network_of(file_.membership.address);
    if (!network) {
      return fail(Fault::BadRequest, "its Address is in no private network of ours (fdaa::/16)");
    }
    file_.membership.network_prefix = network_prefix(*network);
    file_.membership.dns = infra_address(*network);
    return std::move(file_);
  }

 private:
  static std::unexpected<Error> missing(const std::string& what) {
    return fail(Fault::BadRequest, "it lacks " + what);
  }
  static std::unexpected<Error> wrong(std::string_view key, std::string_view what) {
    return fail(Fault::BadRequest, fmt::format("{}: {}", key, what));
  }

  Result<> take(std::string_view line) {
    if (line.starts_with('#')) return take_comment(trimmed(line.substr(1)));
    line = trimmed(line.substr(0, line.find('#')));
    if (line.empty()) return {};
    if (line.starts_with('[')) {
      is_peer_ = is_word(line, "[Peer]");
      if (is_peer_ && ++peers_ > 1) return wrong("[Peer]", "one is enough, the gateway");
      if (is_peer_ || is_word(line, "[Interface]")) return {};
      return wrong(line, "is neither [Interface] nor [Peer]");
    }
    const std::size_t equals = line.find('=');
    if (equals == std::string_view::npos) return wrong(line, "is no \"Key = value\"");
    return take_value(trimmed(line.substr(0, equals)), trimmed(line.substr(equals + 1)));
  }

  Result<> take_comment(std::string_view comment) {
    if (!comment.starts_with(kEnrol)) return {};
    comment = trimmed(comment.substr(kEnrol.size()));
    if (!comment.starts_with('=')) return {};
    auto login = parse_enrol_comment(trimmed(comment.substr(1)));
    if (!login) return fail(login.error());
    file_.enrol = std::move(*login);
    return {};
  }

  // What else wg-quick knows is not for us.
  Result<> take_value(std::string_view key, std::string_view value) {
    Membership& member = file_.membership;
    if (is_peer_ && is_word(key, "PublicKey")) {
      return take_key(key, value, [&](const auto& bytes) { member.gateway = {bytes}; });
    }
    if (is_peer_ && is_word(key, "PresharedKey")) {
      return take_key(key, value,
                      [&](const auto& bytes) { member.preshared = tunnel::PresharedKey(bytes); });
    }
    if (is_peer_ && is_word(key, "Endpoint")) {
      member.endpoint = std::string(value);
    } else if (!is_peer_ && is_word(key, "PrivateKey")) {
      return take_key(key, value,
                      [&](const auto& bytes) { file_.key = tunnel::PrivateKey(bytes); });
    } else if (!is_peer_ && is_word(key, "Address")) {
      const auto address = address_of(value);
      if (!address) return wrong(key, "is no address");
      member.address = *address;
    }
    return {};
  }

  template <class Put>
  static Result<> take_key(std::string_view key, std::string_view value, Put put) {
    const auto bytes = tunnel::key_from_base64(value);
    if (!bytes) return wrong(key, "is no key");
    put(*bytes);
    return {};
  }

  PeerFile file_;
  bool is_peer_ = false;
  int peers_ = 0;
};

}  // namespace

Result<Membership> read_membership(const boost::json::value& peer) {
  Membership made;
  made.name = text_at(peer, "name");
  made.network = text_at(peer, "network");
  made.endpoint = text_at(peer, "endpoint");
  const auto address = IpAddress::parse(text_at(peer, "address"));
  const auto prefix = address_of(text_at(peer, "network_prefix"));
  const auto dns = IpAddress::parse(text_at(peer, "dns"));
  const auto gateway = tunnel::key_from_base64(text_at(peer, "gateway_public_key"));
  if (!address || !is_private(*address) || !prefix || !dns || !gateway || made.endpoint.empty()) {
    return fail(Fault::UpstreamBadResponse,
                "the gateway's answer lacks an address or a key: is it of another version?");
  }
  made.address = *address;
  made.network_prefix = *prefix;
  made.dns = *dns;
  made.gateway = {*gateway};
  return made;
}

std::string write_peer_file(const PeerFile& peer, bool split_dns) {
  const Membership& member = peer.membership;
  const std::string dns = member.dns.to_string();
  std::string text = "\n";
  if (peer.enrol) text += fmt::format("# {} = {}\n", kEnrol, to_enrol_comment(*peer.enrol));
  text +=
      fmt::format("[Interface]\nPrivateKey = {}\nAddress = {}/{}\n",
                  tunnel::to_base64(peer.key.bytes()), member.address.to_string(), kPeerPrefixBits);
  if (split_dns) {
    text += fmt::format("PostUp = resolvectl dns %i {}; resolvectl domain %i ~internal ~flycast\n",
                        dns);
  } else {
    text += fmt::format("DNS = {}\n", dns);
  }
  text += fmt::format("\n[Peer]\nPublicKey = {}\n", tunnel::to_base64(member.gateway.bytes));
  if (!member.preshared.is_zero()) {
    text += fmt::format("PresharedKey = {}\n", tunnel::to_base64(member.preshared.bytes()));
  }
  text += fmt::format("AllowedIPs = {}/{}\nEndpoint = {}\nPersistentKeepalive = 15\n\n",
                      member.network_prefix.to_string(), kNetworkPrefixBits, member.endpoint);
  return text;
}

Result<PeerFile> parse_peer_file(std::string_view text) {
  return Reader().read(text);
}

}  // namespace rooster::cli
