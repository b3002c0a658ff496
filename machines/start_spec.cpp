#include "machines/start_spec.hpp"

#include "machines/machine_id.hpp"

#include <algorithm>
#include <charconv>
#include <csignal>

namespace rooster::machines {
namespace {

void replace_all(std::string& text, std::string_view what, std::string_view with) {
  for (std::size_t at = text.find(what); at != std::string::npos;
       at = text.find(what, at + with.size())) {
    text.replace(at, what.size(), with);
  }
}

bool is_name_character(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

// $PORT, but not $PORTAL.
void replace_variable(std::string& text, std::string_view variable, std::string_view with) {
  for (std::size_t at = text.find(variable); at != std::string::npos;
       at = text.find(variable, at)) {
    const std::size_t end = at + variable.size();
    if (end < text.size() && is_name_character(text[end])) {
      at = end;
      continue;
    }
    text.replace(at, variable.size(), with);
    at += with.size();
  }
}

std::string with_port(std::string text, std::string_view port) {
  replace_all(text, "{port}", port);
  replace_all(text, "${PORT}", port);
  replace_variable(text, "$PORT", port);
  return text;
}

const config::Process* find_process(const config::AppConfig& config, std::string_view group) {
  auto found = std::ranges::find(config.processes, group, &config::Process::group);
  return found != config.processes.end() ? &*found : nullptr;
}

class Environment {
 public:
  void set(std::string_view name, std::string_view value) {
    const std::string prefix = std::string(name) + "=";
    auto found = std::ranges::find_if(
        variables_, [&](const std::string& variable) { return variable.starts_with(prefix); });
    if (found == variables_.end()) found = variables_.emplace(found);
    *found = prefix + std::string(value);
  }
  std::vector<std::string> take() { return std::move(variables_); }

 private:
  std::vector<std::string> variables_;
};

}  // namespace

std::vector<const config::Service*> services_of(const config::AppConfig& config,
                                                std::string_view group) {
  std::vector<const config::Service*> carried;
  for (const config::Service& service : config.services) {
    const bool carries =
        service.processes.empty()
            ? !config.processes.empty() && config.processes.front().group == group
            : std::ranges::find(service.processes, group) != service.processes.end();
    if (carries) carried.push_back(&service);
  }
  return carried;
}

bool takes_port(const config::AppConfig& config, std::string_view group) {
  const config::Process* process = find_process(config, group);
  return process && std::ranges::any_of(process->command, [](const std::string& word) {
           return with_port(word, "1") != word;
         });
}

StartSpec make_start_spec(const config::AppConfig& config, const MachineIdentity& identity,
                          const std::map<std::uint16_t, std::uint16_t>& ports) {
  StartSpec spec{.machine = identity.id,
                 .app = config.name,
                 .directory = config.rooster.directory,
                 .user = config.rooster.user,
                 .ports = ports,
                 .kill_signal = signal_number(config.kill_signal),
                 .kill_timeout = config.kill_timeout,
                 .wants_notify = config.rooster.notify,
                 .private_address = identity.private_address};
  const std::string version = start_fingerprint(config, identity.group);
  spec.fingerprint = store_start({.fingerprint = version, .ports = ports});
  if (spec.kill_signal == 0) spec.kill_signal = SIGINT;
  const auto services = services_of(config, identity.group);
  const std::uint16_t internal = services.empty() ? 0 : services.front()->internal_port;
  const auto placed = ports.find(internal);
  const std::uint16_t port = placed != ports.end() ? placed->second : internal;

  Environment env;
  env.set("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
  env.set("HOME", config.rooster.directory.empty() ? "/" : config.rooster.directory);
  if (port != 0) env.set("PORT", std::to_string(port));
  for (const auto& [name, value] : config.env) env.set(name, value);
  // A file's own PORT says what the app uses by itself; a machine that is placed elsewhere must
  // hear of it.
  if (port != internal) env.set("PORT", std::to_string(port));
  env.set("FLY_APP_NAME", config.name);
  env.set("FLY_MACHINE_ID", identity.id.value);
  env.set("FLY_ALLOC_ID", identity.id.value);
  env.set("FLY_REGION", identity.region);
  env.set("FLY_PROCESS_GROUP", identity.group);
  env.set("FLY_MACHINE_VERSION", version);
  const bool is_private = identity.private_address != IpAddress();
  env.set("FLY_PRIVATE_IP", is_private ? identity.private_address.to_string() : "127.0.0.1");
  env.set("PRIMARY_REGION", config.primary_region);
  if (!config.image.empty()) env.set("FLY_IMAGE_REF", config.image);
  env.set("ROOSTER", "1");
  env.set("ROOSTER_APP", config.name);
  env.set("ROOSTER_MACHINE", identity.id.value);
  spec.env = env.take();

  if (const config::Process* process = find_process(config, identity.group)) {
    const std::string text = std::to_string(port);
    for (const std::string& word : process->command) spec.argv.push_back(with_port(word, text));
  }
  return spec;
}

std::string start_fingerprint(const config::AppConfig& config, std::string_view group) {
  std::string text;
  const auto add = [&text](std::string_view part) { text.append(part).push_back('\0'); };
  if (const config::Process* process = find_process(config, group)) {
    for (const std::string& word : process->command) add(word);
  }
  add("env");
  for (const auto& [name, value] : config.env) {
    add(name);
    add(value);
  }
  add(config.rooster.directory);
  add(config.rooster.user);
  add(config.rooster.address);
  add(config.rooster.network);
  add(config.image);
  add(config.rooster.notify ? "notify" : "");
  for (const config::Service* service : services_of(config, group)) {
    add(std::to_string(service->internal_port));
  }
  return make_machine_id(config.name, group, "", text).value;
}

std::uint16_t readiness_port(const config::AppConfig& config, std::string_view group) {
  for (const config::Service* service : services_of(config, group)) {
    const bool is_tcp = service->protocol == config::Protocol::Tcp;
    if (is_tcp && service->internal_port != 0) return service->internal_port;
  }
  return 0;
}

std::string store_start(const StoredStart& start) {
  std::string text = start.fingerprint;
  for (const auto& [wanted, given] : start.ports) {
    text.append(";").append(std::to_string(wanted)).append("=").append(std::to_string(given));
  }
  return text;
}

StoredStart parse_stored_start(std::string_view text) {
  StoredStart stored{.fingerprint = std::string(text.substr(0, text.find(';')))};
  while (text.find(';') != std::string_view::npos) {
    text.remove_prefix(text.find(';') + 1);
    const char* end = text.data() + text.size();
    std::uint16_t wanted = 0;
    std::uint16_t given = 0;
    const auto first = std::from_chars(text.data(), end, wanted);
    if (first.ec != std::errc{} || first.ptr == end || *first.ptr != '=') continue;
    if (std::from_chars(first.ptr + 1, end, given).ec == std::errc{}) stored.ports[wanted] = given;
  }
  return stored;
}

int signal_number(std::string_view name) {
  struct Row {
    std::string_view name;
    int number;
  };
  // What fly.toml allows.
  constexpr Row kSignals[] = {{"SIGINT", SIGINT},   {"SIGTERM", SIGTERM}, {"SIGQUIT", SIGQUIT},
                              {"SIGUSR1", SIGUSR1}, {"SIGUSR2", SIGUSR2}, {"SIGKILL", SIGKILL},
                              {"SIGSTOP", SIGSTOP}, {"SIGHUP", SIGHUP}};
  for (const Row& row : kSignals) {
    if (row.name == name) return row.number;
  }
  return 0;
}

}  // namespace rooster::machines
