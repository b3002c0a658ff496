#include "admin/api.hpp"

#include "admin/app_json.hpp"
#include "admin/explain.hpp"
#include "admin/log_tail.hpp"
#include "config/show.hpp"
#include "core/json_text.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

namespace rooster::admin {
namespace {

using namespace std::chrono_literals;
using net::HttpReply;
using net::HttpRequest;

constexpr std::size_t kMostApps = 1000;
constexpr std::size_t kMostLines = 10'000;
constexpr auto kFollowPause = 200ms;

HttpReply refusal(int status, std::string_view message) {
  std::string body;
  JsonWriter(body).begin_object().field("error", message).end_object();
  return HttpReply::json(std::move(body), status);
}

// What a failed command says to an operator; unlike a client he gets the detail.
HttpReply failure(const Error& error) {
  const FaultText text = describe(error.fault);
  const int status = error.fault == Fault::NoRoute ? 404 : 409;
  return refusal(status, error.detail.empty() ? text.hint : std::string_view(error.detail));
}

template <class Write>
HttpReply json_reply(Write write, int status = 200) {
  std::string body;
  JsonWriter json(body);
  write(json);
  body += '\n';
  return HttpReply::json(std::move(body), status);
}

bool is_set(const HttpRequest& request, std::string_view name) {
  const auto value = request.query(name);
  return value && *value != "0" && *value != "false";
}

std::size_t number_or(const std::optional<std::string>& text, std::size_t otherwise,
                      std::size_t most) {
  std::size_t number = 0;
  if (!text ||
      std::from_chars(text->data(), text->data() + text->size(), number).ec != std::errc()) {
    return otherwise;
  }
  return std::min(number, most);
}

std::optional<MachineOrder> order_named(std::string_view word) {
  constexpr std::array<std::string_view, 5> kWords{"start", "stop", "suspend", "cordon",
                                                   "uncordon"};
  const auto found = std::ranges::find(kWords, word);
  if (found == kWords.end()) return std::nullopt;
  return static_cast<MachineOrder>(found - kWords.begin());
}

std::string log_text(const std::vector<LogLine>& lines, bool as_json) {
  std::string text;
  for (const LogLine& line : lines) {
    if (!as_json) {
      text += format_fly_line(line);
      continue;
    }
    JsonWriter json(text);
    write_log_line(json, line);
    text += '\n';
  }
  return text;
}

// One coroutine a follower: it asks again five times a second until its client leaves.
Task<> follow(Node& node, LogQuery query, bool as_json, net::BodyWriter& out) {
  query.most = kMostLines;
  for (;;) {
    const auto lines = node.logs(query);
    if (!lines.empty()) {
      query.after = lines.back().sequence;
      if (auto sent = co_await out.write(log_text(lines, as_json)); !sent) co_return sent.error();
    }
    if (auto waited = co_await out.wait(Clock::now() + kFollowPause); !waited)
      co_return waited.error();
  }
}

Task<> write_pieces(std::vector<std::string> pieces, net::BodyWriter& out) {
  for (std::string& piece : pieces) {
    if (auto sent = co_await out.write(std::move(piece)); !sent) co_return sent.error();
  }
  co_return Result<>();
}

// The call as it came, for who answers it.
Task<> give_away(const Api::Connect& connect, std::string head, Stream& stream) {
  connect(stream.pollable().release(), std::move(head));
  co_return {};
}

}  // namespace

HttpReply Api::connect(const HttpRequest& request) {
  std::string head = "CONNECT " + request.target + " HTTP/1.1\r\n";
  for (const auto& [name, value] : request.fields) head += name + ": " + value + "\r\n";
  head += "\r\n";
  HttpReply reply;
  reply.status = 0;
  reply.takeover = [this, head = std::move(head)](Stream& stream, std::string input, Waiter&) {
    return give_away(connect_, head + input, stream);
  };
  return reply;
}

Task<HttpReply> Api::handle(const HttpRequest& request, Waiter& waiter) {
  const std::string_view path = request.path();
  if (request.method == "CONNECT" && connect_) co_return connect(request);
  if (NetworkApi::serves(path)) co_return co_await network_api_.handle(request, waiter);
  if (request.method == "POST") co_return co_await post(request, waiter);
  if (request.method != "GET" && request.method != "HEAD")
    co_return refusal(405, "only GET and POST");
  if (path == "/healthz") co_return co_await health(waiter);
  if (path == "/metrics") co_return metrics();
  if (path == "/v1/status") co_return co_await status(waiter);
  if (path == "/v1/apps") co_return co_await apps(request, waiter);
  if (path.starts_with("/v1/apps/")) {
    co_return co_await app(net::decode_query(path.substr(9)), waiter);
  }
  if (path == "/v1/machines") co_return co_await machines(request, waiter);
  if (path == "/v1/checks") co_return co_await checks(request, waiter);
  if (path == "/v1/explain") co_return co_await explain(request, waiter);
  if (path == "/v1/logs") co_return logs(request);
  if (path == "/v1/config") co_return config(request);
  if (path == "/v1/version") {
    co_return json_reply([](JsonWriter& json) {
      json.begin_object().field("name", "rooster").field("version", ROOSTER_VERSION).end_object();
    });
  }
  co_return refusal(404, "no such endpoint");
}

Task<HttpReply> Api::post(const HttpRequest& request, Waiter& waiter) {
  std::string_view path = request.path();
  if (path == "/v1/reload") co_return co_await reload(waiter);
  if (path == "/v1/config/check") co_return co_await check(request, waiter);
  if (auto exec = ExecPath::parse(path); exec && exec_ != nullptr) {
    co_return co_await exec_->as_operator(request, std::move(*exec), waiter);
  }
  constexpr std::string_view kMachines = "/v1/machines/";
  const std::size_t slash = path.rfind('/');
  if (path.starts_with(kMachines) && slash >= kMachines.size()) {
    const auto order_word = order_named(path.substr(slash + 1));
    if (!order_word) co_return refusal(404, "start, stop, suspend, cordon or uncordon");
    MachineCommand command;
    command.machine = std::string(path.substr(kMachines.size(), slash - kMachines.size()));
    command.order = *order_word;
    command.signal = request.query("signal").value_or("");
    if (const auto seconds = request.query("timeout")) {
      command.timeout = std::chrono::seconds(number_or(seconds, 5, 300));
    }
    co_return co_await order(std::move(command), waiter);
  }
  co_return refusal(404, "no such endpoint");
}

Task<HttpReply> Api::health(Waiter& waiter) {
  const auto now = co_await node_.status(waiter);
  if (!now) co_return failure(now.error());
  co_return now->draining ? HttpReply::text("draining\n", 503) : HttpReply::text("ok\n");
}

Task<HttpReply> Api::status(Waiter& waiter) {
  const auto now = co_await node_.status(waiter);
  if (!now) co_return failure(now.error());
  co_return json_reply([&](JsonWriter& json) { write_status(json, *now); });
}

Task<HttpReply> Api::apps(const HttpRequest& request, Waiter& waiter) {
  const std::size_t most = number_or(request.query("most"), kMostApps, kMostApps);
  const auto found = co_await node_.apps(waiter, request.query("after").value_or(""), most);
  if (!found) co_return failure(found.error());
  const auto config = node_.config();
  co_return json_reply([&](JsonWriter& json) {
    json.begin_object().key("apps").begin_array();
    for (const AppFacts& facts : *found) write_app(json, facts, config->node, false);
    json.end_array();
    // The next page begins behind the last name of a full one.
    if (found->size() == most && !found->empty())
      json.field("next", found->back().view->config->name);
    json.end_object();
  });
}

Task<HttpReply> Api::app(std::string name, Waiter& waiter) {
  const auto found = co_await node_.app(waiter, std::move(name));
  if (!found) co_return failure(found.error());
  const auto config = node_.config();
  co_return json_reply([&](JsonWriter& json) { write_app(json, *found, config->node, true); });
}

Task<std::vector<AppFacts>> Api::facts_for(const HttpRequest& request, Waiter& waiter) {
  const std::string name = request.query("app").value_or("");
  if (name.empty()) {
    co_return co_await node_.apps(waiter, request.query("after").value_or(""), kMostApps);
  }
  auto one = co_await node_.app(waiter, name);
  if (!one) co_return one.error();
  std::vector<AppFacts> list;
  list.push_back(std::move(*one));
  co_return list;
}

Task<HttpReply> Api::machines(const HttpRequest& request, Waiter& waiter) {
  const auto found = co_await facts_for(request, waiter);
  if (!found) co_return failure(found.error());
  co_return json_reply([&](JsonWriter& json) {
    json.begin_object().key("machines").begin_array();
    for (const AppFacts& facts : *found) {
      for (const auto& machine : facts.view->machines) write_machine(json, facts, machine);
    }
    json.end_array();
    if (found->size() == kMostApps) json.field("next", found->back().view->config->name);
    json.end_object();
  });
}

Task<HttpReply> Api::checks(const HttpRequest& request, Waiter& waiter) {
  const auto found = co_await facts_for(request, waiter);
  if (!found) co_return failure(found.error());
  co_return json_reply([&](JsonWriter& json) {
    json.begin_object().key("checks").begin_array();
    for (const AppFacts& facts : *found) write_checks(json, facts);
    json.end_array().end_object();
  });
}

Task<HttpReply> Api::order(MachineCommand command, Waiter& waiter) {
  const std::string machine = command.machine;
  const auto done = co_await node_.command(waiter, std::move(command));
  if (!done) co_return failure(done.error());
  co_return json_reply([&](JsonWriter& json) {
    json.begin_object().field("ok", true).field("machine", machine).end_object();
  });
}

Task<HttpReply> Api::explain(const HttpRequest& request, Waiter& waiter) {
  Explanation explanation;
  if (const auto text = request.query("url")) {
    const auto url = parse_url(*text);
    if (!url) co_return refusal(400, "url: write https://host/path");
    const auto config = node_.config();
    const RouteAnswer route = find_route(*config, *url);
    Result<AppFacts> facts = fail(Fault::NoRoute);
    if (route.app) facts = co_await node_.app(waiter, route.app->name);
    explanation = explain_url(*url, route, facts ? &*facts : nullptr, Clock::now());
  } else if (const auto name = request.query("app")) {
    const auto facts = co_await node_.app(waiter, *name);
    if (!facts) co_return failure(facts.error());
    explanation = explain_app(*facts, Clock::now(), boot_milliseconds());
  } else {
    co_return refusal(400, "give url= or app=");
  }
  co_return json_reply([&](JsonWriter& json) { write_explanation(json, explanation); });
}

Task<HttpReply> Api::reload(Waiter& waiter) {
  const auto report = co_await node_.reload(waiter);
  if (!report) co_return failure(report.error());
  co_return json_reply([&](JsonWriter& json) { write_report(json, *report); },
                       report->ok ? 200 : 422);
}

Task<HttpReply> Api::check(const HttpRequest& request, Waiter& waiter) {
  const auto report = co_await node_.check(waiter, is_set(request, "strict"));
  if (!report) co_return failure(report.error());
  co_return json_reply([&](JsonWriter& json) { write_report(json, *report); });
}

HttpReply Api::config(const HttpRequest& request) {
  const auto set = node_.config();
  const std::string name = request.query("app").value_or("");
  if (name.empty()) return HttpReply::json(config::to_json(config::to_document(set->node)));
  const auto found = set->find(name);
  if (!found) return refusal(404, "no app of this name");
  return HttpReply::json(config::to_json(config::to_document(*found)));
}

HttpReply Api::metrics() {
  HttpReply reply = HttpReply::text("");
  reply.content_type = "text/plain; version=0.0.4; charset=utf-8";
  reply.stream = [pieces = node_.metrics()](net::BodyWriter& out) {
    return write_pieces(pieces, out);
  };
  return reply;
}

HttpReply Api::logs(const HttpRequest& request) {
  LogQuery query{.app = request.query("app").value_or(""),
                 .machine = request.query("machine").value_or(""),
                 .region = request.query("region").value_or(""),
                 .after = 0,
                 .most = number_or(request.query("most"), 100, kMostLines)};
  const bool as_json = request.query("format") == "json";
  const auto lines = node_.logs(query);
  HttpReply reply = HttpReply::text(log_text(lines, as_json));
  if (as_json) reply.content_type = "application/x-ndjson";
  if (is_set(request, "follow")) {
    if (!lines.empty()) query.after = lines.back().sequence;
    reply.stream = [this, query, as_json](net::BodyWriter& out) {
      return follow(node_, query, as_json, out);
    };
  }
  return reply;
}

}  // namespace rooster::admin
