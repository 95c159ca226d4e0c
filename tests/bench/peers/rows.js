// The rows that a message becomes, in the order of the columns.

export const MESSAGE = ['message_id', 'tracker_id', 'outcome', 'received_at', 'payload']

const STATE = ['status', 'status_code', 'status_milestone', 'location', 'latest_occurrence', 'latest_order']
export const TRACKER = ['tracker_id', 'tracking_number', ...STATE]
export const NEW_STATE = STATE.map((column) => `${column} = excluded.${column}`).join(', ')

export function messageRow(item, outcome) {
  const { metadata, tracker } = item
  return [metadata.messageId, tracker.trackerId, outcome, new Date().toISOString(), JSON.stringify(item)]
}

export function trackerRow({ tracker }, event) {
  const { status, statusCode, statusMilestone, location, occurrenceDatetime, order } = event
  return [tracker.trackerId, tracker.trackingNumber, status, statusCode, statusMilestone, location, occurrenceDatetime, order]
}
