// rooster wireguard create and reset: a key made here, its public half told to the gateway, and the
// file that any WireGuard client takes.
#include "cli/network_call.hpp"
#include "cli/network_commands.hpp"
#include "cli/operator_commands.hpp"
#include "cli/peer_file.hpp"
#include "cli/terminal.hpp"
#include "core/descriptor.hpp"
#include "core/json_text.hpp"
#include "tunnel/key.hpp"

#include <boost/json/object.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <ostream>

#include <fcntl.h>
#include <unistd.h>

namespace rooster::cli {
namespace {

constexpr std::size_t kMostInterface = 15;  // wg-quick names the interface after its file
constexpr std::size_t kUlidBytes = 26;
constexpr std::string_view kBanner =
    "!!!! WARNING: Output includes private key. Private keys cannot be recovered !!!!\n"
    "!!!! after creating the peer; if you lose the key, you'll need to remove    !!!!\n"
    "!!!! and re-add the peering connection.                                     !!!!\n";

// A ULID: 48 bits of milliseconds and 80 of chance, in Crockford's base 32.
std::string make_ulid() {
  constexpr std::string_view kDigits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
  std::array<std::uint8_t, 16> bits{};
  tunnel::SystemRandom random;
  random.fill(bits);
  auto milliseconds =
      static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(
                                     std::chrono::system_clock::now().time_since_epoch())
                                     .count());
  for (std::size_t i = 6; i-- > 0; milliseconds >>= 8U) {
    bits[i] = static_cast<std::uint8_t>(milliseconds & 0xffU);
  }
  std::string text(kUlidBytes, '0');
  for (std::size_t digit = 0; digit < kUlidBytes; ++digit) {
    unsigned value = 0;
    // 130 bits of digits for 128: the first digit has two leading zeros.
    for (std::size_t bit = 5 * digit; bit < 5 * digit + 5; ++bit) {
      const bool is_set = bit >= 2 && (bits[(bit - 2) / 8] >> (7 - (bit - 2) % 8) & 1U) != 0;
      value = value << 1U | (is_set ? 1U : 0U);
    }
    text[digit] = kDigits[value];
  }
  return text;
}

// "static-<host>-<ULID>", as flyctl without its email.
std::string default_name() {
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  std::string name(host.data());
  name = name.substr(0, name.find('.'));
  std::erase_if(name, [](char c) {
    return !((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
             c == '-');
  });
  name = name.substr(0, 24);
  return "static-" + (name.empty() ? "host" : name) + '-' + make_ulid();
}

/// Where the configuration goes. Opened before anything is made on the gateway: a peer whose file
/// can't be written would be of no use.
class Target {
 public:
  static Result<Target> open(const std::string& file) {
    Target target;
    if (file == "stdout") return target;
    target.file_ = file;
    target.fd_ = Descriptor(
        ::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (target.fd_) return target;
    if (errno == EEXIST) {
      return fail(Fault::PeerExists, file + " exists and is not overwritten; name another file");
    }
    return fail(Fault::Internal, file + ": " + std::strerror(errno));
  }
  bool is_stdout() const { return file_.empty(); }
  const std::string& file() const { return file_; }
  bool write(const Console& console, const std::string& text) {
    if (is_stdout()) {
      console.out << text << std::flush;
      return console.out.good();
    }
    return ::write(fd_.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
           ::fsync(fd_.get()) == 0;
  }
  void give_up() {
    if (!is_stdout()) ::unlink(file_.c_str());
  }

 private:
  std::string file_;
  Descriptor fd_;
};

// wg-quick's own rule for the names of its files.
void warn_of_name(const Console& console, const std::string& file) {
  const std::filesystem::path path(file);
  const std::string stem = path.stem().string();
  const bool is_good = path.extension() == ".conf" && stem.size() <= kMostInterface;
  if (is_good) return;
  console.err << paint(console, Colour::Yellow, "warning: ")
              << "wg-quick wants a file's name of at most 15 letters and .conf behind it\n";
}

// The gateway's answer, with the key that only this process has, into the file.
int write_configuration(const NetworkAsking& asking, Target& target, const tunnel::PrivateKey& key,
                        const boost::json::value& peer, bool split_dns) {
  auto membership = read_membership(peer);
  if (!membership) {
    target.give_up();
    return print_error(asking.console, membership.error().detail);
  }
  PeerFile file{.key = key, .membership = std::move(*membership), .enrol = std::nullopt};
  if (const std::string token = text_at(peer, "token_text"); !token.empty()) {
    const std::string pin = text_at(peer, "pin");
    auto login =
        parse_login(text_at(peer, "login_url") + '#' + token + (pin.empty() ? "" : ".") + pin);
    if (login) file.enrol = std::move(*login);
  }
  if (!target.write(asking.console, write_peer_file(file, split_dns))) {
    target.give_up();
    return print_error(asking.console,
                       "the configuration can't be written: " + std::string(std::strerror(errno)) +
                           "; rooster wireguard reset makes another");
  }
  if (target.is_stdout()) return 0;
  warn_of_name(asking.console, target.file());
  asking.console.out << "Wrote WireGuard configuration to " << target.file()
                     << "; load in your WireGuard client\n";
  return 0;
}

const boost::json::value* peer_in(const boost::json::value& answer) {
  const auto* const object = answer.if_object();
  return object == nullptr ? nullptr : object->if_contains("peer");
}

}  // namespace

int create_peer(const NetworkAsking& asking, PeerChoice choice) {
  if (choice.name.empty()) choice.name = default_name();
  if (choice.file.empty()) choice.file = "rooster.conf";
  tunnel::SystemRandom random;
  const auto key = tunnel::PrivateKey::generate(random);
  std::string body;
  JsonWriter json(body);
  json.begin_object().field("public_key", tunnel::to_base64(key.public_key().bytes));
  json.field("name", choice.name).field("region", choice.region);
  json.field("network", choice.network.empty() ? "default" : choice.network);
  json.field("rights", choice.rights).field("with_token", choice.with_token);
  json.key("apps").begin_array();
  for (const std::string& app : choice.apps) json.value(app);
  json.end_array();
  if (!choice.life.empty()) {
    const auto life = parse_life(choice.life);
    if (!life) {
      print_error(asking.console, "--ttl: \"" + choice.life + "\" is no time; write 90d or 12h");
      return 2;
    }
    json.field("ttl_seconds", life->count());
  }
  json.end_object();
  auto call = NetworkCall::choose(asking.config_file, choice.network);
  if (!call) return print_error(asking.console, call.error().detail);
  auto target = Target::open(choice.file);
  if (!target) return print_error(asking.console, target.error().detail);
  const auto made = call->post("/v1/peers", {}, std::move(body));
  const auto* const peer = made ? peer_in(*made) : nullptr;
  if (peer == nullptr) {
    target->give_up();
    return print_error(asking.console,
                       made ? "the gateway's answer holds no peer" : made.error().detail);
  }
  asking.console.err << kBanner
                     << fmt::format(
                            "Creating WireGuard peer \"{}\" in region \"{}\" for network {}\n",
                            harmless(text_at(*peer, "name")), harmless(text_at(*peer, "region")),
                            harmless(text_at(*peer, "network")));
  return write_configuration(asking, *target, key, *peer, choice.split_dns);
}

int reset_peer(const NetworkAsking& asking, PeerChoice choice) {
  if (choice.file.empty()) choice.file = "rooster.conf";
  tunnel::SystemRandom random;
  const auto key = tunnel::PrivateKey::generate(random);
  std::string body;
  JsonWriter(body)
      .begin_object()
      .field("public_key", tunnel::to_base64(key.public_key().bytes))
      .end_object();
  auto call = NetworkCall::choose(asking.config_file, choice.network);
  if (!call) return print_error(asking.console, call.error().detail);
  auto target = Target::open(choice.file);
  if (!target) return print_error(asking.console, target.error().detail);
  const auto made = call->post("/v1/peers/" + net::encode_query(choice.name) + "/reset",
                               {{"network", choice.network}}, std::move(body));
  const auto* const peer = made ? peer_in(*made) : nullptr;
  if (peer == nullptr) {
    target->give_up();
    return print_error(asking.console,
                       made ? "the gateway's answer holds no peer" : made.error().detail);
  }
  asking.console.err << kBanner
                     << fmt::format("New WireGuard peer for network '{}': '{}'\n",
                                    harmless(text_at(*peer, "network")),
                                    harmless(text_at(*peer, "name")));
  return write_configuration(asking, *target, key, *peer, choice.split_dns);
}

}  // namespace rooster::cli
