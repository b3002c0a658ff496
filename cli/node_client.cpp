#include "cli/node_client.hpp"

#include "config/parse_node.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace rooster::cli {
namespace {

constexpr std::string_view kDefaultAdmin = "/run/rooster/admin.sock";
// A reload of 100 000 files may be that silent.
constexpr auto kPatience = std::chrono::minutes(5);

}  // namespace

std::string with_query(std::string_view path, const QueryArguments& query) {
  std::string target(path);
  char before = '?';
  for (const auto& [name, value] : query) {
    if (value.empty()) continue;
    target += before;
    target += name;
    target += '=';
    target += net::encode_query(value);
    before = '&';
  }
  return target;
}

namespace {

std::string what_failed(const Error& error, const net::HttpAddress& address) {
  return "no answer from a node at " + address.to_string() + " (" + error.detail +
         "); is `rooster serve` running? Choose the node with -c rooster.toml or $ROOSTER_ADMIN";
}

}  // namespace

Result<net::HttpAddress> find_admin(const std::string& config_file, const char* environment) {
  std::string where(environment != nullptr && *environment != '\0' ? environment : kDefaultAdmin);
  if (!config_file.empty()) {
    const std::string file = std::filesystem::absolute(config_file).string();
    std::ifstream in(file, std::ios::binary);
    if (!in) return fail(Fault::Internal, config_file + ": can't be read");
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    const config::ParsedNode parsed = config::parse_node(text, file);
    if (!parsed.node) {
      return fail(Fault::Internal, config::render(parsed.diagnostics.front()));
    }
    where = parsed.node->fixed.admin_socket;
  }
  const auto address = net::HttpAddress::parse(where);
  if (!address) return fail(Fault::Internal, where + ": not an address of an admin API");
  return *address;
}

Result<boost::json::value> NodeClient::ask(std::string method, std::string_view path,
                                           const QueryArguments& query, std::string body) const {
  net::HttpRequest request;
  request.method = std::move(method);
  request.body = std::move(body);
  request.target = with_query(path, query);
  const auto response = net::HttpClient(address_, kPatience).send(request);
  if (!response) return fail(Fault::Internal, what_failed(response.error(), address_));
  boost::system::error_code error;
  boost::json::value value = boost::json::parse(response->body, error);
  if (error) {
    return fail(Fault::Internal, "the node answered " + std::to_string(response->status) +
                                     " with something that is not JSON");
  }
  if (response->status >= 400) {
    if (const std::string text = text_at(value, "error"); !text.empty()) {
      return fail(response->status == 404 ? Fault::NoRoute : Fault::Internal, text);
    }
  }
  return value;
}

Result<boost::json::value> NodeClient::get(std::string_view path,
                                           const QueryArguments& query) const {
  return ask("GET", path, query);
}

Result<boost::json::value> NodeClient::post(std::string_view path, const QueryArguments& query,
                                            std::string body) const {
  return ask("POST", path, query, std::move(body));
}

Result<boost::json::array> NodeClient::get_all(std::string_view path, std::string_view key,
                                               QueryArguments query) const {
  boost::json::array all;
  query.emplace_back("after", "");
  for (;;) {
    const auto page = ask("GET", path, query);
    if (!page) return fail(page.error());
    for (const auto& item : array_at(*page, key)) all.push_back(item);
    query.back().second = text_at(*page, "next");
    if (query.back().second.empty()) return all;
  }
}

Result<> NodeClient::stream(std::string_view path, const QueryArguments& query,
                            const std::function<bool(std::string_view)>& line) const {
  net::HttpRequest request;
  request.target = with_query(path, query);
  const auto response = net::HttpClient(address_, kPatience).stream(request, line);
  if (!response) return fail(Fault::Internal, what_failed(response.error(), address_));
  if (response->status >= 300) {
    return fail(Fault::Internal, "the node answered " + std::to_string(response->status));
  }
  return {};
}

std::string text_at(const boost::json::value& object, std::string_view key) {
  const auto* members = object.if_object();
  const auto* member = members == nullptr ? nullptr : members->if_contains(key);
  if (member == nullptr || member->is_null()) return {};
  if (const auto* text = member->if_string()) return std::string(*text);
  return boost::json::serialize(*member);
}

const boost::json::array& array_at(const boost::json::value& object, std::string_view key) {
  static const boost::json::array kNone;
  const auto* members = object.if_object();
  const auto* member = members == nullptr ? nullptr : members->if_contains(key);
  const auto* list = member == nullptr ? nullptr : member->if_array();
  return list == nullptr ? kNone : *list;
}

bool is_true(const boost::json::value& object, std::string_view key) {
  return text_at(object, key) == "true";
}

}  // namespace rooster::cli
