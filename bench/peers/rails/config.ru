# A Rails application in one file: a message is in PostgreSQL before its room hears of it.
ENV["RAILS_ENV"] = "production"

require "rails"
require "active_record/railtie"
require "action_controller/railtie"
require "action_cable/engine"

ActiveRecord::Base.default_timezone = :utc

class Chat < Rails::Application
  config.load_defaults 6.1
  config.root = ENV.fetch("RUN")
  config.eager_load = true
  config.secret_key_base = "benchmark"
  config.consider_all_requests_local = false
  config.log_level = :warn
  config.logger = Logger.new($stderr, level: :warn)
  config.hosts.clear
  config.api_only = true
  config.action_cable.disable_request_forgery_protection = true
  config.action_cable.mount_path = "/cable"
end

class Message < ActiveRecord::Base
  validates :text, presence: true
  after_create_commit { ActionCable.server.broadcast("room_#{room}", as_json) }
end

module ApplicationCable
  class Connection < ActionCable::Connection::Base; end
  class Channel < ActionCable::Channel::Base; end
end

class RoomChannel < ApplicationCable::Channel
  def subscribed
    stream_from "room_#{params[:room]}"
  end

  def speak(data)
    Message.create!(room: params[:room], text: data["text"])
  end
end

class MessagesController < ActionController::API
  def create
    message = Message.create!(room: params[:room], text: params[:text])
    render json: message, status: :created
  end
end

ActionCable.server.config.cable = { "adapter" => "redis", "url" => ENV.fetch("REDIS_URL") }
ActionCable.server.config.logger = Logger.new($stderr, level: :warn)
Chat.initialize!
Chat.routes.draw { post "/rooms/:room/messages", to: "messages#create" }

ActiveRecord::Schema.verbose = false
ActiveRecord::Schema.define do
  create_table :messages, if_not_exists: true do |table|
    table.integer :room, null: false
    table.text :text, null: false
    table.datetime :created_at, null: false
    table.index %i[room id]
  end
end

run Chat
