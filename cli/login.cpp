#include "cli/login.hpp"

#include "cli/node_client.hpp"
#include "cli/state_folder.hpp"
#include "core/base64.hpp"
#include "core/json_text.hpp"

#include <boost/json/parse.hpp>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <vector>

namespace rooster::cli {
namespace {

constexpr std::string_view kScheme = "https://";
constexpr std::string_view kCurrent = "/current";  // "<node>/<network>" of the login kept last
constexpr std::string_view kHowToLogIn =
    "run the line that `rooster tokens create` printed for you: rooster login https://...";

std::unexpected<Error> bad(const std::string& what) {
  return fail(Fault::BadRequest, what + "; " + std::string(kHowToLogIn));
}

std::string to_pin_text(const Login::Pin& pin) {
  return to_base64url(pin);
}

std::optional<Login::Pin> parse_pin(std::string_view text) {
  std::string standard(text);
  for (char& c : standard) c = c == '-' ? '+' : c == '_' ? '/' : c;
  const auto bytes = from_base64(standard + '=');
  Login::Pin pin{};
  if (!bytes || bytes->size() != pin.size()) return std::nullopt;
  std::ranges::copy(*bytes, pin.begin());
  return pin;
}

bool is_host(std::string_view host) {
  return !host.empty() && host.size() <= 253 && host.front() != '.' &&
         std::ranges::all_of(host, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-' || c == '.';
         });
}

bool is_token(std::string_view token) {
  return !token.empty() && std::ranges::all_of(token, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
  });
}

Result<> read_url(std::string_view url, Login& to) {
  if (!url.starts_with(kScheme)) return bad("a login begins with https://");
  url.remove_prefix(kScheme.size());
  while (url.ends_with('/')) url.remove_suffix(1);
  const std::size_t colon = url.find(':');
  to.host = std::string(url.substr(0, colon));
  if (colon != std::string_view::npos) {
    const std::string_view digits = url.substr(colon + 1);
    const auto [end, failed] =
        std::from_chars(digits.data(), digits.data() + digits.size(), to.port);
    if (failed != std::errc() || end != digits.data() + digits.size() || to.port == 0) {
      return bad("\"" + std::string(digits) + "\" is no port");
    }
  }
  if (!is_host(to.host)) return bad("\"" + to.host + "\" is no host");
  return {};
}

Result<Login> read_login(const std::string& folder) {
  const auto text = read_small(folder + "/login.json");
  if (!text) return fail(Fault::NoRoute, "no login is kept; " + std::string(kHowToLogIn));
  boost::system::error_code error;
  const boost::json::value value = boost::json::parse(*text, error);
  Login login;
  if (error || !read_url(text_at(value, "url"), login) || !is_token(text_at(value, "token"))) {
    return fail(Fault::Internal, folder + "/login.json is broken; " + std::string(kHowToLogIn));
  }
  login.token = text_at(value, "token");
  if (const std::string pin = text_at(value, "pin"); !pin.empty()) {
    login.pin = parse_pin(pin);
    // Without its pin another authority would do.
    if (!login.pin) return fail(Fault::Internal, folder + "/login.json: the pin is broken");
  }
  login.network = text_at(value, "network");
  login.connect_to = text_at(value, "connect_to");
  login.folder = folder;
  return login;
}

// Folders "<node>/<network>" that hold a login for `network`, in any case.
std::vector<std::string> folders_for(const std::string& state, const std::string& network) {
  const auto lower = [](std::string text) {
    for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    return text;
  };
  std::vector<std::string> found;
  std::error_code ignored;
  for (const auto& node : std::filesystem::directory_iterator(state, ignored)) {
    std::error_code none;
    for (const auto& one : std::filesystem::directory_iterator(node.path(), none)) {
      if (lower(one.path().filename().string()) != lower(network)) continue;
      if (std::filesystem::exists(one.path() / "login.json", none)) {
        found.push_back(one.path().string());
      }
    }
  }
  return found;
}

}  // namespace

std::string Login::url() const {
  return std::string(kScheme) + host + (port == 443 ? "" : ':' + std::to_string(port));
}

std::string Login::node_name() const {
  return host + (port == 443 ? "" : '_' + std::to_string(port));
}

std::string Login::token_id() const {
  return token.substr(0, token.find('-'));
}

Result<net::ClientTls> Login::tls() const {
  return pin ? net::ClientTls::create_pinned(*pin) : net::ClientTls::create();
}

Result<Login> parse_login(std::string_view text) {
  Login login;
  const std::size_t hash = text.find('#');
  if (auto read = read_url(text.substr(0, hash), login); !read) return fail(read.error());
  if (hash == std::string_view::npos) return bad("no token stands behind a # in it");
  std::string_view secret = text.substr(hash + 1);
  if (const std::size_t dot = secret.find('.'); dot != std::string_view::npos) {
    login.pin = parse_pin(secret.substr(dot + 1));
    if (!login.pin) return bad("its pin is broken: was the whole line copied?");
    secret = secret.substr(0, dot);
  }
  if (!is_token(secret)) return bad("its token is broken: was the whole line copied?");
  login.token = std::string(secret);
  return login;
}

Result<Login> parse_enrol_comment(std::string_view text) {
  Login login;
  constexpr std::string_view kPin = "pin=sha256:";
  constexpr std::string_view kToken = "token=";
  bool has_url = false;
  while (!text.empty()) {
    const std::size_t space = text.find(' ');
    const std::string_view word = text.substr(0, space);
    text.remove_prefix(space == std::string_view::npos ? text.size() : space + 1);
    if (word.empty()) continue;
    if (word.starts_with(kPin)) {
      login.pin = parse_pin(word.substr(kPin.size()));
      if (!login.pin) return fail(Fault::BadRequest, "Rooster-Enrol: the pin is broken");
    } else if (word.starts_with(kToken) && is_token(word.substr(kToken.size()))) {
      login.token = std::string(word.substr(kToken.size()));
    } else if (!has_url && read_url(word, login)) {
      has_url = true;
    } else {
      return fail(Fault::BadRequest, "Rooster-Enrol: \"" + std::string(word) + "\" is unknown");
    }
  }
  if (!has_url || login.token.empty()) {
    return fail(Fault::BadRequest, "Rooster-Enrol: it needs https://<node> and token=<token>");
  }
  return login;
}

std::string to_enrol_comment(const Login& login) {
  std::string text = login.url();
  if (login.pin) text += " pin=sha256:" + to_pin_text(*login.pin);
  return text + " token=" + login.token;
}

Result<Login> keep_login(Login login) {
  const auto state = state_folder();
  if (!state) return fail(state.error());
  const std::string name = login.node_name() + '/' + login.network;
  login.folder = *state + '/' + name;
  if (auto made = make_folder(login.folder); !made) return fail(made.error());
  std::string text;
  JsonWriter json(text);
  json.begin_object().field("url", login.url()).field("token", login.token);
  if (login.pin) json.field("pin", to_pin_text(*login.pin));
  json.field("network", login.network).field("connect_to", login.connect_to).end_object();
  text += '\n';
  if (auto written = write_private(login.folder + "/login.json", text); !written) {
    return fail(written.error());
  }
  if (auto written = write_private(*state + std::string(kCurrent), name + '\n'); !written) {
    return fail(written.error());
  }
  return login;
}

Result<Login> find_login(const std::string& network) {
  const auto state = state_folder();
  if (!state) return fail(state.error());
  std::string current = read_small(*state + std::string(kCurrent)).value_or("");
  while (current.ends_with('\n')) current.pop_back();
  if (network.empty()) {
    if (current.empty() || current.find("..") != std::string::npos) {
      return fail(Fault::NoRoute, "no login is kept; " + std::string(kHowToLogIn));
    }
    return read_login(*state + '/' + current);
  }
  const auto folders = folders_for(*state, network);
  if (folders.empty()) {
    return fail(Fault::NoRoute,
                "no login is kept for network \"" + network + "\"; " + std::string(kHowToLogIn));
  }
  const auto latest = std::ranges::find(folders, *state + '/' + current);
  if (folders.size() > 1 && latest == folders.end()) {
    return fail(Fault::NoRoute, "several nodes have a network \"" + network +
                                    "\"; log in again to the one that is meant");
  }
  return read_login(latest == folders.end() ? folders.front() : *latest);
}

}  // namespace rooster::cli
